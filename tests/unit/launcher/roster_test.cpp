#include "launcher/roster.h"

#include <gtest/gtest.h>

namespace hvd::launcher {
namespace {

TEST(Roster, KnowsWhoRunsAndWhoBelongsToTheJob) {
  Roster roster;
  roster.started(30, 2);
  roster.started(40, 0);
  roster.started(20, 1);
  EXPECT_EQ(roster.left(), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(roster.give_up({1}), (std::map<pid_t, int>{{20, 1}}));
  EXPECT_TRUE(roster.give_up({1}).empty()) << "known already";
  EXPECT_TRUE(roster.was_given_up(1));
  EXPECT_EQ(roster.left(), (std::vector<int>{0, 2}));
  EXPECT_EQ(roster.running().size(), 3U);

  EXPECT_EQ(roster.ended(40), 0);
  EXPECT_EQ(roster.ended(40), std::nullopt);
  EXPECT_EQ(roster.ended(20), 1);
  EXPECT_EQ(roster.left(), std::vector<int>{2});
  EXPECT_TRUE(roster.give_up({0, 1}).empty()) << "they do not run";
}

}  // namespace
}  // namespace hvd::launcher
