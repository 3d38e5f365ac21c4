#include "bindings/torch/bucket_plan.h"

#include <gtest/gtest.h>

namespace hvd {
namespace {

TEST(SplitEvenly, GoesFromTheLastToTheFirst) {
  EXPECT_EQ(split_evenly(5, 2), (IndexGroups{{4, 3, 2}, {1, 0}}));
  EXPECT_EQ(split_evenly(3, 3), (IndexGroups{{2}, {1}, {0}}));
  EXPECT_EQ(split_evenly(2, 5), (IndexGroups{{1}, {0}}));
  EXPECT_TRUE(split_evenly(0, 1).empty());
}

TEST(PlanBuckets, PacksFromTheLastToTheFirstUpToTheLimit) {
  const std::vector<BucketItem> items{{40}, {40}, {10}, {90}, {30}};
  EXPECT_EQ(plan_buckets(items, {}, 100), (IndexGroups{{4}, {3, 2}, {1, 0}}));
  EXPECT_EQ(plan_buckets(items, {}, 1), (IndexGroups{{4}, {3}, {2}, {1}, {0}}));
  EXPECT_EQ(plan_buckets(items, {}, 1000), (IndexGroups{{4, 3, 2, 1, 0}}));
}

TEST(PlanBuckets, OfDifferentKindsGrowSideBySide) {
  const std::vector<BucketItem> items{{8, 1}, {8, 2}, {8, 1}, {8, 2}, {8, 1}};
  EXPECT_EQ(plan_buckets(items, {}, 16), (IndexGroups{{4, 2}, {3, 1}, {0}}));
}

TEST(PlanBuckets, TakesGroupsAsTheyAreButForTheirKinds) {
  const std::vector<BucketItem> items{{50, 1}, {50, 1}, {50, 2}, {50, 1}, {50, 1}};
  EXPECT_EQ(plan_buckets(items, {{0, 2, 3}}, 60), (IndexGroups{{4}, {0, 3}, {2}, {1}}));
}

}  // namespace
}  // namespace hvd
