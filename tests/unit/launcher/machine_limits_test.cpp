#include "launcher/machine_limits.h"

#include <gtest/gtest.h>

namespace hvd::launcher {
namespace {

std::string refusal(int ranks, const MachineLimits& limits, const std::string& folder = {}) {
  JobOptions options;
  options.num_proc = ranks;
  options.output_directory = folder;
  return check_machine_limits(options, limits).message();
}

TEST(MachineLimits, AreNoneForFewRanks) {
  EXPECT_EQ(refusal(4, {}), "");
  EXPECT_EQ(refusal(4, {.open_files = 1024, .open_now = 3, .processes = 100, .processes_limit = "ulimit -u"}),
            "");
}

TEST(MachineLimits, OfOpenFilesSayHowManyRanksThereMayBe) {
  const MachineLimits limits{.open_files = 115, .open_now = 3};
  EXPECT_EQ(refusal(23, limits), "");
  EXPECT_EQ(
      refusal(24, limits),
      "-np 24: hvdrun needs 119 open files for so many ranks, and may have 115: enough for 23. Raise the "
      "limit (ulimit -Hn and ulimit -n), or start fewer ranks");
  EXPECT_EQ(refusal(15, limits, "logs"), "");
  EXPECT_NE(refusal(16, limits, "logs").find("enough for 15."), std::string::npos);
  EXPECT_NE(refusal(1, {.open_files = 4, .open_now = 3}).find("enough for 0."), std::string::npos);
}

TEST(MachineLimits, OfProcessesSayWhoSetsThem) {
  const MachineLimits limits{.processes = 10, .processes_limit = "ulimit -u"};
  EXPECT_EQ(refusal(9, limits), "");
  EXPECT_EQ(
      refusal(10, limits),
      "-np 10: this machine lets hvdrun start 10 more processes at most (ulimit -u), and one is its own. "
      "Raise the limit, or start fewer ranks");
}

TEST(MachineLimits, OfThisMachineBearOneRank) {
  const MachineLimits limits = read_machine_limits();
  EXPECT_GE(limits.open_now, 1);
  EXPECT_GT(limits.open_files, limits.open_now);
  EXPECT_NE(limits.processes_limit, "");
  EXPECT_EQ(refusal(1, limits), "");
}

}  // namespace
}  // namespace hvd::launcher
