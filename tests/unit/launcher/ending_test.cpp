#include "launcher/ending.h"

#include <gtest/gtest.h>

#include <csignal>

namespace hvd::launcher {
namespace {

using std::chrono::milliseconds;

Ending::Clock::time_point at(int ms) { return Ending::Clock::time_point(milliseconds(ms)); }

Ending make_ending() { return Ending(milliseconds(5000), milliseconds(10000)); }

TEST(Ending, HasNothingToDoWhileAllIsWell) {
  Ending ending = make_ending();
  EXPECT_EQ(ending.due(at(1'000'000)), std::nullopt);
  EXPECT_TRUE(ending.next().is_never());
}

TEST(Ending, GivesTheOthersTimeAfterAFailure) {
  Ending ending = make_ending();
  ending.rank_failed(at(0));
  ending.rank_failed(at(3000));  // does not prolong
  EXPECT_EQ(ending.due(at(4999)), std::nullopt);
  EXPECT_EQ(ending.due(at(5000)), SIGTERM);
  EXPECT_EQ(ending.due(at(5000)), std::nullopt);
  EXPECT_EQ(ending.next().when(), at(15000));
  EXPECT_EQ(ending.due(at(15000)), SIGKILL);
  EXPECT_EQ(ending.due(at(15000)), std::nullopt);
  EXPECT_EQ(ending.due(ending.next().when()), SIGKILL) << "again, until nothing is left";
}

TEST(Ending, KillsAfterASignalThatIsNotObeyed) {
  Ending ending = make_ending();
  ending.signal_received(SIGTERM, at(0));
  ending.signal_received(SIGTERM, at(9000));  // neither prolongs nor shortens
  EXPECT_EQ(ending.due(at(9999)), std::nullopt);
  EXPECT_EQ(ending.due(at(10000)), SIGKILL);
}

TEST(Ending, KillsAtTheSecondInterrupt) {
  Ending ending = make_ending();
  ending.signal_received(SIGINT, at(0));
  EXPECT_EQ(ending.due(at(100)), std::nullopt);
  ending.signal_received(SIGINT, at(100));
  EXPECT_EQ(ending.due(at(100)), SIGKILL);
}

TEST(Ending, OfASignalAfterAFailureKeepsTheSignalsGrace) {
  Ending ending = make_ending();
  ending.rank_failed(at(0));
  ending.signal_received(SIGINT, at(1000));
  EXPECT_EQ(ending.due(at(5000)), std::nullopt);
  EXPECT_EQ(ending.due(at(11000)), SIGKILL);
}

TEST(Ending, ClearsUpWhatRanksLeftBehind) {
  Ending ending = make_ending();
  ending.ranks_have_ended(at(0));
  EXPECT_EQ(ending.due(at(0)), SIGTERM);
  ending.ranks_have_ended(at(1));
  EXPECT_EQ(ending.due(at(1)), std::nullopt);
  EXPECT_EQ(ending.due(at(999)), std::nullopt);
  EXPECT_EQ(ending.due(at(1000)), SIGKILL);
}

TEST(Ending, DoesNotGoBackFromKilling) {
  Ending ending = make_ending();
  ending.kill_now(at(0));
  EXPECT_EQ(ending.due(at(0)), SIGKILL);
  ending.rank_failed(at(1));
  ending.signal_received(SIGTERM, at(1));
  ending.ranks_have_ended(at(1));
  EXPECT_EQ(ending.due(ending.next().when()), SIGKILL);
}

}  // namespace
}  // namespace hvd::launcher
