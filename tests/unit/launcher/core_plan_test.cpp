#include "launcher/core_plan.h"

#include <gtest/gtest.h>

#include <set>

namespace hvd::launcher {
namespace {

std::vector<Cpu> one_socket(int cores) {
  std::vector<Cpu> cpus;
  for (int id = 0; id < cores; ++id) cpus.push_back({id, 0, id});
  return cpus;
}

TEST(CorePlan, GivesEqualSharesThatDoNotOverlap) {
  for (int cores = 1; cores <= 33; ++cores) {
    for (int ranks = 1; ranks <= cores; ++ranks) {
      const CorePlan plan = plan_cores(one_socket(cores), ranks, true, std::nullopt);
      ASSERT_EQ(plan.cpus.size(), static_cast<std::size_t>(ranks));
      std::set<int> used;
      for (const auto& cpus : plan.cpus) {
        EXPECT_EQ(cpus.size(), static_cast<std::size_t>(cores / ranks));
        for (const int cpu : cpus)
          EXPECT_TRUE(used.insert(cpu).second) << "cpu " << cpu << " twice, " << ranks << " ranks";
      }
      EXPECT_EQ(plan.omp_threads, cores / ranks);
    }
  }
}

TEST(CorePlan, DoesNotBindMoreRanksThanProcessors) {
  const CorePlan plan = plan_cores(one_socket(2), 3, true, std::nullopt);
  EXPECT_TRUE(plan.cpus.empty());
  EXPECT_EQ(plan.omp_threads, 1);
}

TEST(CorePlan, DoesNotBindWhenAskedNotToButStillSharesThreads) {
  const CorePlan plan = plan_cores(one_socket(8), 2, false, std::nullopt);
  EXPECT_TRUE(plan.cpus.empty());
  EXPECT_EQ(plan.omp_threads, 4);
}

TEST(CorePlan, LeavesTheUsersThreadCountAlone) {
  EXPECT_EQ(plan_cores(one_socket(8), 2, true, "3").omp_threads, std::nullopt);
  EXPECT_EQ(plan_cores(one_socket(8), 2, true, "").omp_threads, 4) << "an empty value is as good as none";
}

TEST(CorePlan, BindsNobodyIfTheKernelDoesNotTell) {
  const CorePlan plan = plan_cores({}, 2, true, std::nullopt);
  EXPECT_TRUE(plan.cpus.empty());
  EXPECT_EQ(plan.omp_threads, 1);
}

// Two sockets of two cores with two hardware threads; numbered as x86 does: threads of a core are 4 apart.
TEST(CorePlan, KeepsHardwareThreadsAndSocketsTogether) {
  std::vector<Cpu> cpus;
  for (int id = 0; id < 8; ++id) cpus.push_back({id, (id % 4) / 2, id % 2});
  const CorePlan two = plan_cores(cpus, 2, true, std::nullopt);
  EXPECT_EQ(two.cpus[0], (std::vector<int>{0, 1, 4, 5}));
  EXPECT_EQ(two.cpus[1], (std::vector<int>{2, 3, 6, 7}));
  const CorePlan four = plan_cores(cpus, 4, true, std::nullopt);
  EXPECT_EQ(four.cpus[0], (std::vector<int>{0, 4}));
  EXPECT_EQ(four.cpus[3], (std::vector<int>{3, 7}));
}

TEST(CorePlan, UsesOnlyWhatIsAllowed) {
  const CorePlan plan = plan_cores({{3, 0, 3}, {9, 0, 9}, {11, 0, 11}}, 2, true, std::nullopt);
  EXPECT_EQ(plan.cpus[0], std::vector<int>{3});
  EXPECT_EQ(plan.cpus[1], std::vector<int>{9});
}

TEST(CorePlan, NamesRanges) {
  EXPECT_EQ(name_of_cpus({}), "");
  EXPECT_EQ(name_of_cpus({4}), "4");
  EXPECT_EQ(name_of_cpus({0, 1, 2, 5, 7, 8}), "0-2,5,7-8");
}

}  // namespace
}  // namespace hvd::launcher
