// The words of epochs and what follows from them.
#include "horovod_cpp/coordinator/epoch_words.h"

#include <gtest/gtest.h>

#include <vector>

#include "horovod_cpp/coordinator/epoch_plan.h"

namespace hvd {
namespace {

constexpr std::uint64_t kLateEpoch = (std::uint64_t{1} << 48U) - 1;

TEST(EpochWords, CloseWordsComeBackAsTheyWere) {
  for (unsigned bits = 0; bits < 32; ++bits) {
    const CloseWord word{(bits & 1U) != 0, (bits & 2U) != 0,  (bits & 4U) != 0,
                         (bits & 8U) != 0, (bits & 16U) != 0, static_cast<std::uint8_t>(255 - bits)};
    EXPECT_EQ(decode_close(encode(kLateEpoch, word)), word);
    EXPECT_EQ(epoch_of(encode(kLateEpoch, word)), kLateEpoch);
  }
}

TEST(EpochWords, OutcomesComeBackAsTheyWere) {
  for (const auto state : {EpochState::complete, EpochState::dropped, EpochState::failed}) {
    const EpochOutcome outcome{state, true, false, true, true, state == EpochState::failed};
    EXPECT_EQ(decode_outcome(encode(kLateEpoch, outcome)), outcome);
    EXPECT_EQ(epoch_of(encode(kLateEpoch, outcome)), kLateEpoch);
  }
}

TEST(EpochWords, AZeroedWordIsOpenInEveryEpoch) {
  EXPECT_EQ(epoch_of(0), 0U);
  EXPECT_EQ(decode_outcome(0).state, EpochState::open);
}

TEST(EpochDecision, IsCompleteIfAllWentWell) {
  EXPECT_EQ(decide(std::vector<CloseWord>(3)), EpochOutcome{.state = EpochState::complete});
}

TEST(EpochDecision, OneVoidDropsTheStepOfAll) {
  const EpochOutcome outcome = decide(std::vector<CloseWord>{{}, {.is_void = true}, {.has_more = true}});
  EXPECT_EQ(outcome.state, EpochState::dropped);
  EXPECT_FALSE(outcome.has_more);
}

TEST(EpochDecision, WhatOneRankNeedsAllDo) {
  const EpochOutcome outcome = decide(std::vector<CloseWord>{{}, {.leaves = true}, {.has_more = true}});
  EXPECT_EQ(outcome, (EpochOutcome{.state = EpochState::complete, .leaves = true, .has_more = true}));
}

TEST(EpochDecision, FailsIfRanksAreAtDifferentBackwards) {
  const EpochOutcome outcome = decide(std::vector<CloseWord>{{.count = 1}, {.is_void = true, .count = 2}});
  EXPECT_EQ(outcome, (EpochOutcome{.state = EpochState::failed, .counts_differ = true}));
}

TEST(EpochDecision, ARankThatIsGoneCountsNothing) {
  const EpochOutcome outcome = decide(std::vector<CloseWord>{{.is_gone = true}, {.count = 7}, {.count = 7}});
  EXPECT_EQ(outcome, (EpochOutcome{.state = EpochState::complete, .is_gone = true}));
}

EpochPlan two_buckets() {
  EpochPlan plan;
  plan.buckets = {{0, 3 * plan.chunk_bytes / 8, DataType::float32, 0, 2},
                  {2 * plan.chunk_bytes, 0, DataType::float64, 2, 1}};
  plan.payload_bytes = 2 * plan.chunk_bytes;
  plan.flags = 3;
  return plan;
}

TEST(EpochLayout, PartsFollowOneAnotherAndAreAligned) {
  const EpochLayout layout(two_buckets());
  EXPECT_EQ(layout.chunks_of(0), 2U);
  EXPECT_EQ(layout.chunks_of(1), 1U) << "an empty bucket has flags";
  EXPECT_LT(layout.ready, layout.claim);
  EXPECT_LT(layout.claim, layout.done);
  EXPECT_LT(layout.done, layout.squares);
  EXPECT_GE(layout.own_flags, layout.squares + 3 * sizeof(double));
  EXPECT_GE(layout.combined_flags, layout.own_flags + 3);
  EXPECT_GE(layout.payload, layout.combined_flags + 3);
  EXPECT_EQ(layout.payload % EpochLayout::kPageBytes, 0U);
  EXPECT_EQ(layout.total_bytes, layout.payload + 2 * EpochPlan().chunk_bytes);
}

TEST(EpochPlan, FingerprintsTellPlansApart) {
  const std::int64_t one = fingerprint_of(two_buckets());
  EXPECT_EQ(one, fingerprint_of(two_buckets()));
  EXPECT_GT(one, 0);
  EpochPlan other = two_buckets();
  other.scale = 0.5;
  EXPECT_NE(one, fingerprint_of(other));
  other = two_buckets();
  other.buckets[0].dtype = DataType::float64;
  EXPECT_NE(one, fingerprint_of(other));
  other = two_buckets();
  other.chunk_bytes *= 2;
  EXPECT_NE(one, fingerprint_of(other));
}

TEST(FittedChunk, IsAQuarterOfTheSecondCacheWithinLimits) {
  EXPECT_EQ(fitted_chunk_bytes({.second = std::size_t{512} << 10U}), std::size_t{128} << 10U);
  EXPECT_EQ(fitted_chunk_bytes({.second = std::size_t{1280} << 10U}), std::size_t{256} << 10U);
  EXPECT_EQ(fitted_chunk_bytes({.second = 0}), std::size_t{64} << 10U);
  EXPECT_EQ(fitted_chunk_bytes({.second = std::size_t{64} << 20U}), std::size_t{512} << 10U);
  EXPECT_GT(caches_of_machine().second, 0U);
}

}  // namespace
}  // namespace hvd
