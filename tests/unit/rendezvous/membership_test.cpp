#include "horovod_cpp/rendezvous/membership.h"

#include <gtest/gtest.h>

namespace hvd {
namespace {

using std::chrono::milliseconds;
using Ranks = std::vector<int>;

const Membership::Clock::time_point kStart{};

LossPolicy at_least(int min_size) { return {.min_size = min_size, .patience = milliseconds(100)}; }

void expect_refused(const Status& status, const std::string& word) {
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  EXPECT_NE(status.message().find(word), std::string::npos) << status.message();
}

TEST(Membership, AllRanksMeetAgainAndAgain) {
  Membership job(3, {});
  for (int round = 0; round < 2; ++round) {
    for (const int rank : {2, 0, 1}) {
      EXPECT_FALSE(job.is_complete(kStart));
      EXPECT_TRUE(job.come(rank, false, kStart).is_ok());
    }
    expect_refused(job.come(1, false, kStart), "rank 1 is taken");
    EXPECT_TRUE(job.is_complete(kStart));
    EXPECT_EQ(job.close(), (Ranks{0, 1, 2}));
  }
}

TEST(Membership, WithoutAPolicyNobodyIsDispensable) {
  Membership job(2, {});
  job.ended(1, false);
  EXPECT_FALSE(job.can_go_on());
  EXPECT_TRUE(job.come(0, false, kStart).is_ok());
  EXPECT_FALSE(job.is_complete(kStart + std::chrono::hours(1)));
  EXPECT_NE(job.hopeless(kStart).message().find("the process of rank 1 has ended"), std::string::npos);
  job.leave(0);
  expect_refused(job.come(0, true, kStart), "--min-np");
  EXPECT_EQ(job.attendance().gone, Ranks{0});
  EXPECT_EQ(job.attendance().missing, Ranks{1});
}

TEST(Membership, WhoHasEndedIsNotAwaited) {
  Membership job(4, at_least(2));
  EXPECT_TRUE(job.come(3, true, kStart).is_ok());
  EXPECT_TRUE(job.come(0, true, kStart).is_ok());
  job.ended(2, false);
  EXPECT_FALSE(job.is_complete(kStart));
  job.ended(1, true);
  EXPECT_TRUE(job.is_complete(kStart));
  EXPECT_EQ(job.close(), (Ranks{0, 3}));
  expect_refused(job.come(2, false, kStart), "has ended");
  EXPECT_TRUE(job.given_up().empty());
}

TEST(Membership, WhoDoesNotComeInTimeIsGivenUpAndToldSo) {
  Membership job(4, at_least(2));
  for (const int rank : {0, 2, 3}) EXPECT_TRUE(job.come(rank, true, kStart).is_ok());
  EXPECT_FALSE(job.is_complete(kStart + milliseconds(99)));
  EXPECT_EQ(job.patience_ends().when(), kStart + milliseconds(100));
  EXPECT_TRUE(job.is_complete(kStart + milliseconds(100)));
  EXPECT_EQ(job.close(), (Ranks{0, 2, 3}));
  EXPECT_EQ(job.given_up(), Ranks{1});
  expect_refused(job.come(1, true, kStart + milliseconds(200)), "given up");
  // The next meeting does without it.
  for (const int rank : {0, 2, 3}) EXPECT_TRUE(job.come(rank, false, kStart).is_ok());
  EXPECT_TRUE(job.is_complete(kStart));
}

TEST(Membership, PatienceBeginsWithTheFirstLossOnly) {
  Membership job(2, at_least(1));
  EXPECT_TRUE(job.come(0, false, kStart).is_ok());
  EXPECT_TRUE(job.patience_ends().is_never());
  EXPECT_FALSE(job.is_complete(kStart + std::chrono::hours(1)));
  job.leave(0);
  EXPECT_TRUE(job.come(0, true, kStart + milliseconds(50)).is_ok());
  EXPECT_EQ(job.patience_ends().when(), kStart + milliseconds(150));
  job.leave(0);  // nobody waits: the next one to come begins anew
  EXPECT_TRUE(job.patience_ends().is_never());
}

TEST(Membership, TooFewDoNotMeetForTheFirstTimeEither) {
  Membership job(2, at_least(2));
  EXPECT_TRUE(job.come(0, false, kStart).is_ok());
  job.ended(1, false);
  EXPECT_NE(job.hopeless(kStart).message().find("--min-np asks for 2"), std::string::npos);
}

TEST(Membership, TooFewDoNotGoOn) {
  Membership job(3, at_least(3));
  EXPECT_TRUE(job.come(0, true, kStart).is_ok());
  EXPECT_TRUE(job.hopeless(kStart).is_ok());
  job.ended(1, false);
  EXPECT_FALSE(job.can_go_on());
  EXPECT_EQ(job.hopeless(kStart).code(), StatusCode::aborted);
  EXPECT_NE(job.hopeless(kStart).message().find("left to go on: 2; hvdrun --min-np asks for 3"),
            std::string::npos);
  expect_refused(job.come(2, true, kStart), "too few");
}

TEST(Membership, TooFewThatComeInTimeDoNotGoOn) {
  Membership job(3, at_least(2));
  EXPECT_TRUE(job.come(0, true, kStart).is_ok());
  EXPECT_TRUE(job.hopeless(kStart + milliseconds(99)).is_ok());
  EXPECT_FALSE(job.is_complete(kStart + milliseconds(100)));
  const Status hopeless = job.hopeless(kStart + milliseconds(100));
  EXPECT_EQ(hopeless.code(), StatusCode::aborted);
  EXPECT_NE(hopeless.message().find("only 1 of at least 2"), std::string::npos) << hopeless.message();
}

TEST(Membership, WhoWaitsInVainHearsWhoWasRefused) {
  Membership job(2, {});
  EXPECT_TRUE(job.come(0, false, kStart).is_ok());
  job.refused("wrong version");
  EXPECT_TRUE(job.hopeless(kStart).is_ok());
  job.ended(1, false);
  EXPECT_NE(job.hopeless(kStart).message().find(". A rank was refused before: wrong version"),
            std::string::npos);
  // It is no news to the next meeting.
  Membership another(2, {});
  another.refused("wrong version");
  for (const int rank : {0, 1}) EXPECT_TRUE(another.come(rank, false, kStart).is_ok());
  EXPECT_EQ(another.close().size(), 2U);
  another.ended(1, false);
  EXPECT_EQ(another.hopeless(kStart).message().find("refused"), std::string::npos);
}

// Those who are done are no loss: the others may still be fewer than asked for.
TEST(Membership, WhoHasFinishedWellCounts) {
  Membership job(3, at_least(2));
  job.ended(0, true);
  job.ended(1, false);
  EXPECT_TRUE(job.can_go_on());
  job.ended(2, false);
  EXPECT_FALSE(job.can_go_on());
}

}  // namespace
}  // namespace hvd
