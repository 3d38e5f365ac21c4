// Pictures of what ranks do: over the wire, in words, and who gathers them.
#include "horovod_cpp/coordinator/rank_picture.h"

#include <gtest/gtest.h>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/picture_gathering.h"

namespace hvd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

RankPicture at_step(std::uint32_t steps, std::vector<RankPicture::Pending> pending = {}) {
  RankPicture picture;
  picture.steps = steps;
  picture.pending = std::move(pending);
  picture.last = "something done, 3 s ago";
  return picture;
}

RankPicture::Pending waits(const std::string& what, seconds age = seconds(62),
                           std::vector<int> members = {}) {
  return {what, std::move(members), age};
}

std::vector<RankSeen> ranks(std::vector<RankPicture> pictures) {
  std::vector<RankSeen> out;
  for (RankPicture& picture : pictures) out.push_back({static_cast<int>(out.size()), std::move(picture), ""});
  return out;
}

constexpr const char* kConv = "allreduce 'layer4.1.conv2.weight'";

TEST(PictureWords, SayWhoHasNotSubmittedWhatAndWhoWaits) {
  const auto words =
      words_of(ranks({at_step(1841, {waits(kConv, seconds(61))}), at_step(1841, {waits(kConv)}),
                      at_step(1841, {waits(kConv)}), at_step(1840)}));
  EXPECT_EQ(words,
            "  rank 3 has not submitted allreduce 'layer4.1.conv2.weight' for 62 s; ranks 0-2 wait since "
            "step 1841\n"
            "  rank 3: step 1840 taken, last: something done, 3 s ago");
}

TEST(PictureWords, SayWhoIsAloneWithAnOperation) {
  const auto words = words_of(ranks({at_step(0, {waits(kConv)}), at_step(0, {waits(kConv)}),
                                     at_step(0, {waits("allgather 'metrics'", seconds(61))})}));
  EXPECT_EQ(words,
            "  rank 2 has not submitted allreduce 'layer4.1.conv2.weight' for 62 s; ranks 0, 1 wait\n"
            "  rank 2 is in allgather 'metrics' that no other rank has called, for 61 s\n"
            "  rank 2: last: something done, 3 s ago");
}

TEST(PictureWords, OfProcessSetsConcernMembersOnly) {
  const auto words =
      words_of(ranks({at_step(0), at_step(0, {waits("allreduce 'x' of process set 1", seconds(5), {1, 2})}),
                      at_step(0), at_step(0)}));
  EXPECT_NE(words.find("  rank 2 has not submitted allreduce 'x' of process set 1 for 5.0 s; rank 1 waits\n"),
            std::string::npos)
      << words;
}

TEST(PictureWords, PutOperationsInTheSameSituationTogether) {
  const auto words = words_of(ranks(
      {at_step(0, {waits("allreduce 'a'"), waits("allreduce 'b'", seconds(63)), waits("allreduce 'c'")}),
       at_step(0)}));
  EXPECT_EQ(words.find("  rank 1 has not submitted allreduce 'b' and 2 more for 63 s; rank 0 waits\n"), 0U)
      << words;
}

TEST(PictureWords, DoNotBlameARankThatDidNotAnswer) {
  auto seen = ranks({at_step(0, {waits(kConv)}), at_step(0, {waits(kConv)})});
  seen.push_back({2, std::nullopt, "gone"});
  const auto words = words_of(seen);
  EXPECT_NE(words.find("; whether rank 2 has submitted it is not known"), std::string::npos) << words;
  EXPECT_NE(words.find("\n  rank 2: gone"), std::string::npos) << words;
  EXPECT_EQ(words.find("has not submitted"), std::string::npos) << words;
}

TEST(PictureWords, DoNotBlameARankWhoseListIsCut) {
  RankPicture busy = at_step(0, {waits("allreduce 'other'")});
  busy.more_pending = 3;
  const auto words = words_of(ranks({at_step(0, {waits(kConv)}), busy}));
  EXPECT_EQ(words.find("rank 1 has not submitted allreduce 'layer4"), std::string::npos) << words;
}

TEST(PictureWords, SayWhoHasNotProducedAGradient) {
  RankPicture waiting = at_step(7);
  waiting.epochs = {{"gradients", {{2, 2, "bucket 0: head.weight"}}, seconds(62)}};
  const auto words = words_of(ranks({waiting, waiting, at_step(7)}));
  EXPECT_EQ(
      words,
      "  rank 2 has not produced bucket 0: head.weight and 1 more buckets for 62 s; ranks 0, 1 wait at the "
      "end of backward (gradients) since step 7\n"
      "  rank 2: step 7 taken, last: something done, 3 s ago");
}

TEST(PictureWords, StayShort) {
  std::vector<RankPicture> many;
  for (int rank = 0; rank < 100; ++rank) many.push_back(at_step(0, {waits(text("allreduce '", rank, "'"))}));
  const auto words = words_of(ranks(many));
  EXPECT_LT(std::count(words.begin(), words.end(), '\n'), 20) << words;
  EXPECT_NE(words.find("… and 92 more like that"), std::string::npos) << words;
}

TEST(RankPictures, SurviveTheWire) {
  RankPicture picture = at_step(9, {waits("a", seconds(1), {1, 4}), waits("b")});
  picture.more_pending = 5;
  picture.epochs = {{"gradients", {{2, 3, "bucket"}}, milliseconds(12)}};
  const Bytes bytes = encode(picture);
  const auto back = decode_picture(bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(encode(*back), bytes);
  EXPECT_EQ(back->pending.at(0).members, (std::vector<int>{1, 4}));
  EXPECT_EQ(back->epochs.at(0).awaited.at(0).first, "bucket");
  for (std::size_t length = 0; length < bytes.size(); ++length)
    EXPECT_FALSE(decode_picture(std::span(bytes).first(length))) << length;
}

TEST(RankPictures, OfGiantLengthsAreRefused) {
  Bytes bytes(64, std::byte{0xFF});
  EXPECT_FALSE(decode_picture(bytes));
}

// --- gathering ---

class Gathering : public testing::Test {
 protected:
  PictureGathering make(int rank, const std::set<int>& linked) {
    PictureGathering::Parts parts;
    parts.rank = rank;
    parts.size = 4;
    parts.take_picture = [] { return encode(at_step(1)); };
    parts.ask = [this](int other, bool) { asked.push_back(other); };
    parts.send = [this](int other, const Bytes&) { sent_to.push_back(other); };
    parts.tell = [this](const std::string& why, const std::string& words) {
      told.push_back(why + ": " + words);
    };
    return {std::move(parts), linked};
  }
  PictureGathering::TimePoint now{seconds(1000)};
  std::vector<int> asked, sent_to;
  std::vector<std::string> told;
};

TEST_F(Gathering, TheLowestAsksAtOnceAndTellsWhenAllHaveAnswered) {
  auto gathering = make(0, {1, 2, 3});
  gathering.want("SIGUSR1", now);
  EXPECT_EQ(asked, (std::vector<int>{1, 2, 3}));
  for (const int rank : {3, 1}) gathering.received(rank, encode(at_step(2)));
  gathering.advance(now);
  EXPECT_TRUE(told.empty());
  gathering.received(2, encode(at_step(2)));
  gathering.advance(now);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].find("SIGUSR1:   rank 0: step 1 taken"), 0U) << told[0];
  EXPECT_FALSE(gathering.is_busy());
}

TEST_F(Gathering, NobodyIsWaitedForLongerThanASecond) {
  auto gathering = make(0, {1, 2, 3});
  gathering.want("SIGUSR1", now);
  gathering.ended(1, "gone");
  gathering.received(2, encode(at_step(2)));
  EXPECT_EQ(gathering.next().when(), now + PictureGathering::kAnswer);
  gathering.advance(now + PictureGathering::kAnswer);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_NE(told[0].find("rank 1: gone"), std::string::npos) << told[0];
  EXPECT_NE(told[0].find("rank 3: alive, but has not answered"), std::string::npos) << told[0];
}

TEST_F(Gathering, AHigherRankLeavesItToALowerOne) {
  auto gathering = make(2, {0, 1, 3});
  gathering.want("SIGUSR1", now);
  EXPECT_TRUE(asked.empty());
  gathering.asked_by(0, now + milliseconds(10));
  EXPECT_EQ(sent_to, std::vector<int>{0});
  gathering.want("SIGUSR1", now + milliseconds(20));
  gathering.advance(now + seconds(5));
  EXPECT_TRUE(told.empty());
  EXPECT_FALSE(gathering.is_busy());
}

TEST_F(Gathering, AHigherRankAsksWhenNoLowerOneDoes) {
  auto gathering = make(2, {0, 1, 3});
  gathering.want("SIGUSR1", now);
  gathering.advance(gathering.next().when());
  EXPECT_EQ(gathering.next().when() - now, 2 * PictureGathering::kTurn + PictureGathering::kAnswer);
  EXPECT_EQ(asked, (std::vector<int>{0, 1, 3}));
}

TEST_F(Gathering, AfterAFailureTheLowestLivingRankTellsOnce) {
  auto gathering = make(1, {0, 2, 3});
  gathering.ended(0, "gone");
  gathering.received(3, encode(at_step(3)));  // it has noticed first
  gathering.fail("rank 0 is gone", now);
  gathering.fail("again", now);
  gathering.received(2, encode(at_step(2)));
  gathering.advance(now);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].find("rank 0 is gone: "), 0U) << told[0];
  EXPECT_NE(told[0].find("rank 3: step 3"), std::string::npos) << told[0];
  gathering.want("SIGUSR1", now);
  gathering.advance(now + seconds(5));
  EXPECT_EQ(told.size(), 1U);
}

TEST_F(Gathering, AfterAFailureTheOthersSendTheirsUnasked) {
  auto gathering = make(3, {0, 1, 2});
  gathering.fail("why", now);
  EXPECT_EQ(sent_to, (std::vector<int>{0, 1, 2}));
  EXPECT_TRUE(asked.empty());
}

// It may have told it and be gone by now.
TEST_F(Gathering, AfterAFailureARankThatALowerOneHasAskedIsSilent) {
  auto gathering = make(2, {0, 1, 3});
  gathering.ended(1, "gone");
  gathering.asked_by(0, now, /*after_failure=*/true);
  gathering.ended(0, "gone");
  gathering.fail("why", now);
  gathering.advance(now + seconds(5));
  EXPECT_TRUE(told.empty());
  EXPECT_FALSE(gathering.is_busy());
}

TEST_F(Gathering, TheEndOfASessionIsNotHeldUp) {
  auto gathering = make(0, {1, 2, 3});
  gathering.fail("why", now);
  gathering.hurry(now);
  gathering.hurry(now + milliseconds(100));
  EXPECT_EQ(gathering.next().when(), now + PictureGathering::kLast);
  gathering.advance(now + PictureGathering::kLast);
  EXPECT_EQ(told.size(), 1U);
}

TEST_F(Gathering, ARankAloneTellsItsOwn) {
  auto gathering = make(0, {});
  gathering.want("SIGUSR1", now);
  EXPECT_EQ(told.size(), 1U);
}

}  // namespace
}  // namespace hvd
