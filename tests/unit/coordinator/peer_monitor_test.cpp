// What a rank makes of the answers and the silence of those it waits for.
#include "horovod_cpp/coordinator/peer_monitor.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "horovod_cpp/coordinator/peer_process.h"
#include "horovod_cpp/coordinator/position.h"
#include "horovod_cpp/coordinator/watcher_messages.h"
#include "tests/harness/manual_clock.h"

namespace hvd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Ranks 0 to 3, of which the others answer at once unless a test says no.
class Waiting : public testing::Test {
 protected:
  static constexpr seconds kWarn{4};
  static constexpr seconds kEnd{8};

  // A look after each interval until `time` has gone by; what was found on the way.
  void look_for(milliseconds time) {
    for (milliseconds gone{0}; gone < time; gone += monitor_.interval()) {
      clock_.advance(monitor_.interval());
      look();
    }
  }
  void look() {
    const auto findings = monitor_.look(clock_.now(), own_);
    questions_ += findings.to_ask.size();
    for (const int rank : findings.to_ask) {
      if (!quiet_.contains(rank)) {
        monitor_.heard(rank);
        monitor_.answered(rank, positions_[rank]);
      }
    }
    for (const int rank : asking_) {
      monitor_.heard(rank);
      monitor_.asked_by(rank);
    }
    for (const auto& silent : findings.silent) {
      if (silent.is_to_be_told) told_.push_back(silent.rank);
      if (silent.ends_the_job) ended_.push_back(silent.rank);
    }
    if (findings.held_up) held_up_.push_back(*findings.held_up);
  }
  void wait_for_others() { own_->waits_since = clock_.now(); }

  ManualClock clock_;
  PeerMonitor monitor_{1, {0, 2, 3}, kWarn, kEnd};
  std::optional<PeerMonitor::Own> own_ = PeerMonitor::Own{};
  std::set<int> quiet_;
  std::set<int> asking_;
  std::map<int, std::uint64_t> positions_;
  std::size_t questions_ = 0;
  std::vector<int> told_;
  std::vector<int> ended_;
  std::vector<PeerMonitor::HeldUp> held_up_;
};

TEST_F(Waiting, NobodyIsAskedByARankThatDoesNotWait) {
  quiet_ = {2};
  look_for(seconds(100));
  EXPECT_EQ(questions_, 0U);
  // Nor by one whose waits are short.
  for (int i = 0; i < 100; ++i) {
    clock_.advance(monitor_.interval() / 2);
    wait_for_others();
    clock_.advance(monitor_.interval() / 2);
    look();
  }
  EXPECT_EQ(questions_, 0U);
}

TEST_F(Waiting, ASilentRankIsToldOnceAndEndsTheJobIfAsked) {
  wait_for_others();
  quiet_ = {2};
  look_for(monitor_.interval());  // now it is asked
  look_for(kWarn - monitor_.interval());
  EXPECT_TRUE(told_.empty());
  look_for(monitor_.interval());
  EXPECT_EQ(told_, (std::vector<int>{2}));
  look_for(kEnd - kWarn - monitor_.interval());
  EXPECT_TRUE(ended_.empty());
  look_for(monitor_.interval());
  EXPECT_EQ(told_, (std::vector<int>{2}));
  EXPECT_EQ(ended_, (std::vector<int>{2}));
}

TEST_F(Waiting, ASilentRankGetsOneQuestion) {
  wait_for_others();
  quiet_ = {0, 2, 3};
  look_for(seconds(100));
  EXPECT_EQ(questions_, 3U);
}

TEST_F(Waiting, WhoAnswersAgainMayFallSilentAgain) {
  wait_for_others();
  quiet_ = {2};
  look_for(seconds(6));
  monitor_.heard(2);
  monitor_.answered(2, 0);
  look_for(seconds(6));
  EXPECT_EQ(told_, (std::vector<int>{2, 2}));
  EXPECT_TRUE(ended_.empty());
}

TEST_F(Waiting, TheLowestRankThatWaitsTells) {
  wait_for_others();
  quiet_ = {2};
  asking_ = {0};
  look_for(seconds(6));
  EXPECT_TRUE(told_.empty());
  look_for(seconds(6));
  EXPECT_FALSE(ended_.empty()) << "each rank gives up by itself";
}

TEST_F(Waiting, AHigherRankTellsIfTheLowestIsSilentToo) {
  asking_ = {0};
  look_for(seconds(1));
  asking_ = {};
  wait_for_others();
  quiet_ = {0, 2};
  look_for(seconds(6));
  EXPECT_EQ(told_, (std::vector<int>{0, 2}));
}

TEST_F(Waiting, ARankThatWasStoppedItselfBlamesNobody) {
  wait_for_others();
  quiet_ = {0, 2, 3};
  look_for(seconds(2));
  clock_.advance(std::chrono::hours(1));
  look();
  EXPECT_TRUE(told_.empty());
  EXPECT_TRUE(ended_.empty());
}

TEST_F(Waiting, WhoHasEndedIsNoLongerAsked) {
  wait_for_others();
  quiet_ = {2};
  look_for(seconds(1));
  monitor_.ended(2);
  look_for(seconds(20));
  EXPECT_TRUE(told_.empty());
  EXPECT_TRUE(ended_.empty());
}

TEST_F(Waiting, NothingIsFoundOnceTheWorldHasFailed) {
  own_.reset();
  quiet_ = {0, 2, 3};
  look_for(seconds(100));
  EXPECT_EQ(questions_, 0U);
  EXPECT_TRUE(held_up_.empty());
}

TEST_F(Waiting, OffWithoutLimitsOrPeers) {
  EXPECT_FALSE(PeerMonitor(0, {1}, seconds(0), seconds(0)).is_on());
  EXPECT_FALSE(PeerMonitor(0, {}, seconds(1), seconds(1)).is_on());
  EXPECT_TRUE(PeerMonitor(0, {}, seconds(1), seconds(1)).next().is_never());
  EXPECT_TRUE(PeerMonitor(0, {1}, seconds(0), seconds(3)).is_on());
}

std::uint64_t negotiating(int round) {
  Position position;
  for (int i = 0; i < round; ++i) {
    position.begin_round();
    position.end_round();
  }
  position.begin_round();
  return position.value();
}
std::uint64_t in_first_batch_of(int round) { return negotiating(round) + 1; }

TEST_F(Waiting, ARankWhoseCoordinatorHangsIsTold) {
  own_->position = negotiating(5);
  positions_ = {{0, negotiating(5)}, {2, in_first_batch_of(4)}, {3, in_first_batch_of(4)}};
  positions_[0] = in_first_batch_of(4);
  look_for(seconds(6));
  ASSERT_EQ(held_up_.size(), 1U);
  EXPECT_EQ(held_up_[0].by, (std::vector<int>{0, 2, 3}));
  EXPECT_TRUE(held_up_[0].is_to_be_told);
  EXPECT_FALSE(held_up_[0].ends_the_job);
  look_for(seconds(4));
  ASSERT_GE(held_up_.size(), 2U);
  EXPECT_FALSE(held_up_[1].is_to_be_told);
  EXPECT_TRUE(held_up_[1].ends_the_job);
  EXPECT_TRUE(told_.empty());
}

TEST_F(Waiting, OfThoseInTheSameRoundTheLowestTells) {
  own_->position = negotiating(5);
  positions_ = {{0, negotiating(5)}, {2, negotiating(5)}, {3, in_first_batch_of(4)}};
  look_for(seconds(6));
  EXPECT_TRUE(held_up_.empty());
  look_for(seconds(6));
  ASSERT_FALSE(held_up_.empty());
  EXPECT_EQ(held_up_[0].by, (std::vector<int>{3}));
  EXPECT_FALSE(held_up_[0].is_to_be_told);
  EXPECT_TRUE(held_up_[0].ends_the_job);
}

TEST_F(Waiting, WhoHoldsUpOthersLeavesItToThem) {
  own_->position = in_first_batch_of(4);
  positions_ = {{0, negotiating(5)}, {2, negotiating(5)}, {3, in_first_batch_of(4)}};
  look_for(seconds(100));
  EXPECT_TRUE(held_up_.empty());
}

TEST_F(Waiting, AnOperationThatAllAreInIsToldButNotEnded) {
  own_->position = in_first_batch_of(4);
  positions_ = {{0, negotiating(4)}, {2, in_first_batch_of(4)}, {3, in_first_batch_of(4)}};
  positions_[0] = in_first_batch_of(4);
  monitor_.ended(0);
  look_for(seconds(100));
  ASSERT_EQ(held_up_.size(), 1U);
  EXPECT_TRUE(held_up_[0].by.empty());
  EXPECT_TRUE(held_up_[0].is_to_be_told);
  EXPECT_FALSE(held_up_[0].ends_the_job);
}

TEST_F(Waiting, ARankThatIsSilentIsNotCalledSlow) {
  own_->position = negotiating(5);
  quiet_ = {3};
  positions_ = {{0, negotiating(5)}, {2, negotiating(5)}};
  look_for(seconds(20));
  EXPECT_TRUE(held_up_.empty());
  EXPECT_EQ(told_, (std::vector<int>{3}));
}

TEST_F(Waiting, WhoMovesOnIsNotHeldUp) {
  for (int round = 0; round < 20; ++round) {
    own_->position = negotiating(round);
    look_for(seconds(2));
  }
  EXPECT_TRUE(held_up_.empty());
}

TEST(Position, GrowsFromRoundToRound) {
  Position position;
  EXPECT_FALSE(Position::is_in_round(position.value()));
  std::vector<std::uint64_t> values{position.value()};
  for (int round = 0; round < 3; ++round) {
    position.begin_round();
    values.push_back(position.value());
    EXPECT_TRUE(Position::is_negotiating(values.back()));
    for (int batch = 0; batch < 3; ++batch) {
      position.begin_batch();
      values.push_back(position.value());
      EXPECT_TRUE(Position::is_in_round(values.back()));
      EXPECT_FALSE(Position::is_negotiating(values.back()));
    }
    position.end_round();
    values.push_back(position.value());
    EXPECT_FALSE(Position::is_in_round(values.back()));
  }
  EXPECT_TRUE(std::is_sorted(values.begin(), values.end(), std::less_equal<>()));
}

TEST(Position, GoesOverTheLink) {
  EXPECT_EQ(position_in_words(words_of_position(0x0123456789abcdefULL)), 0x0123456789abcdefULL);
  EXPECT_FALSE(position_in_words("short").has_value());
  EXPECT_FALSE(position_in_words("this is too long").has_value());
}

TEST(PeerProcess, WhatHoldsItUp) {
  EXPECT_EQ(trouble_of_process(12, "12 (a) ) b) T 1 12"),
            "its process is stopped (SIGSTOP or a terminal); kill -CONT 12 lets it go on");
  EXPECT_EQ(trouble_of_process(12, "12 (train) t 1 12"), "a debugger holds its process");
  EXPECT_NE(trouble_of_process(12, "12 (train) D 1 12"), "");
  for (const char* stat : {"12 (train) S 1 12", "12 (train) R 1 12", "", "12 (train", "12 (train) "})
    EXPECT_EQ(trouble_of_process(12, stat), "");
}

}  // namespace
}  // namespace hvd
