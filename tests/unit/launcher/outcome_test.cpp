#include "launcher/outcome.h"

#include <gtest/gtest.h>

#include <csignal>

#include "launcher/signal_name.h"

namespace hvd::launcher {
namespace {

using std::chrono::milliseconds;

RankEnd exited(int rank, int code, int after_ms) {
  return {rank,  100 + rank, code, 0, std::chrono::steady_clock::time_point(milliseconds(after_ms)),
          false, "",         false};
}
RankEnd killed(int rank, int signal, int after_ms) {
  return {rank,  100 + rank, 0,    signal, std::chrono::steady_clock::time_point(milliseconds(after_ms)),
          false, "",         false};
}
RankEnd by_us(RankEnd end) {
  end.ended_by_us = true;
  return end;
}

TEST(Outcome, IsSilentWhenAllGoesWell) {
  const Outcome outcome = outcome_of({exited(1, 0, 0), exited(0, 0, 5)}, std::nullopt);
  EXPECT_EQ(outcome.exit_status, 0);
  EXPECT_TRUE(outcome.lines.empty());
}

TEST(Outcome, ReportsTheFirstFailureFirst) {
  const Outcome outcome =
      outcome_of({exited(3, 0, 0), exited(2, 7, 10), exited(0, 1, 900), exited(1, 1, 950)}, std::nullopt);
  EXPECT_EQ(outcome.exit_status, 7);
  ASSERT_EQ(outcome.lines.size(), 3U);
  EXPECT_EQ(outcome.lines[0], "rank 2 (pid 102) exited with status 7; the job has ended");
  EXPECT_EQ(outcome.lines[1], "before that rank 3 exited with status 0");
  EXPECT_EQ(outcome.lines[2], "then ranks 0, 1 exited with status 1");
}

TEST(Outcome, NamesTheSignal) {
  const Outcome outcome = outcome_of({killed(2, SIGKILL, 0)}, std::nullopt);
  EXPECT_EQ(outcome.exit_status, 137);
  EXPECT_EQ(outcome.lines.at(0), "rank 2 (pid 102) was killed by SIGKILL (9); the job has ended");
}

// Survivors may be reaped a moment before the rank whose death they noticed.
TEST(Outcome, PrefersADeathToItsNoticeAtTheSameMoment) {
  EXPECT_EQ(outcome_of({exited(0, 1, 0), killed(1, SIGKILL, 3)}, std::nullopt).exit_status, 137);
  EXPECT_EQ(outcome_of({killed(0, SIGABRT, 0), killed(1, SIGSEGV, 3)}, std::nullopt).exit_status, 139);
  EXPECT_EQ(outcome_of({exited(0, 1, 0), killed(1, SIGABRT, 3)}, std::nullopt).exit_status, 1)
      << "an abort may well be how rank 1 noticed";
  EXPECT_EQ(outcome_of({exited(0, 1, 0), killed(1, SIGKILL, 1000)}, std::nullopt).exit_status, 1)
      << "not the same moment";
}

TEST(Outcome, IsGoodIfTheJobWentOnWithoutWhoFailed) {
  RankEnd lost = killed(1, SIGKILL, 0);
  lost.job_went_on = true;
  const Outcome good = outcome_of({lost, exited(0, 0, 5000)}, std::nullopt);
  EXPECT_EQ(good.exit_status, 0);
  EXPECT_TRUE(good.lines.empty());
  const Outcome bad = outcome_of({lost, exited(0, 3, 5000)}, std::nullopt);
  EXPECT_EQ(bad.exit_status, 137) << "the first failure is the first cause";
  EXPECT_EQ(words_of_loss(lost, {0, 2}),
            "rank 1 (pid 101) was killed by SIGKILL (9); the job goes on with ranks 0, 2");
}

TEST(Outcome, DoesNotBlameRanksThatHvdrunEnded) {
  const Outcome outcome = outcome_of(
      {exited(1, 3, 0), by_us(killed(0, SIGTERM, 5000)), by_us(killed(2, SIGKILL, 9000))}, std::nullopt);
  EXPECT_EQ(outcome.exit_status, 3);
  ASSERT_EQ(outcome.lines.size(), 3U);
  EXPECT_EQ(outcome.lines[1], "then rank 0 was ended by hvdrun with SIGTERM (15)");
  EXPECT_EQ(outcome.lines[2], "then rank 2 was ended by hvdrun with SIGKILL (9)");
}

TEST(Outcome, OfASignalToHvdrun) {
  EXPECT_EQ(outcome_of({killed(0, SIGINT, 0), exited(1, 0, 0)}, SIGINT).exit_status, 130);
  EXPECT_EQ(outcome_of({by_us(killed(0, SIGKILL, 0))}, SIGTERM).exit_status, 143);
  EXPECT_EQ(outcome_of({exited(0, 0, 0), exited(1, 0, 0)}, SIGTERM).exit_status, 0)
      << "they took it as a request";
}

TEST(Outcome, SaysOnceThatAProgramCannotBeStarted) {
  RankEnd first = exited(1, 126, 0), second = exited(0, 126, 0);
  first.start_error = second.start_error = "x: is a directory, not a program";
  const Outcome outcome = outcome_of({first, second}, std::nullopt);
  EXPECT_EQ(outcome.exit_status, 126);
  EXPECT_EQ(outcome.lines, std::vector<std::string>{"x: is a directory, not a program"});
}

TEST(SignalName, IsTheUsualOne) {
  EXPECT_EQ(name_of_signal(SIGSEGV), "SIGSEGV (11)");
  EXPECT_EQ(name_of_signal(SIGRTMIN + 3), "signal " + std::to_string(SIGRTMIN + 3));
}

}  // namespace
}  // namespace hvd::launcher
