// Which gradients travel together, and when: the parts that know no tensor.
#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include "bindings/torch/accumulation.h"
#include "bindings/torch/arena_plan.h"
#include "bindings/torch/bucket_plan.h"
#include "bindings/torch/gradient_groups.h"

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

TEST(GradientGroups, AreReadyWithTheirLastMember) {
  GradientGroups groups(5, {{4, 1}, {2}});
  using Indices = std::vector<std::size_t>;
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(groups.arrive(3), Indices{3}) << "in no group";
    EXPECT_EQ(groups.arrive(1), Indices{});
    EXPECT_EQ(groups.arrive(2), Indices{2});
    EXPECT_EQ(groups.arrive(4), (Indices{4, 1}));
    groups.start_afresh();
  }
  EXPECT_EQ(groups.arrive(1), Indices{});
  groups.start_afresh();
  EXPECT_EQ(groups.arrive(4), Indices{}) << "1 was in the round before";
}

// Passes that are not local start a round, which starts the accumulation afresh.
std::string passes(Accumulation& accumulation, int count) {
  std::string out;
  for (int pass = 0; pass < count; ++pass) {
    const bool is_local = accumulation.begin_pass();
    if (is_local) {
      EXPECT_TRUE(accumulation.is_pending());
    } else {
      accumulation.start_afresh();
    }
    out += is_local ? 'l' : 'R';
  }
  return out;
}

TEST(Accumulation, CommunicatesInEveryKthPassThatIsNotHeld) {
  Accumulation each(1);
  EXPECT_EQ(passes(each, 3), "RRR");
  Accumulation third(3);
  EXPECT_EQ(passes(third, 7), "llRllRl");
  third.start_afresh();
  EXPECT_EQ(passes(third, 2), "ll");
  third.hold();
  third.hold();
  third.release();
  EXPECT_EQ(passes(third, 3), "lll");
  third.release();
  EXPECT_EQ(passes(third, 4), "RllR");
}

// --- the arena ---

TEST(PlanArena, FollowsTheOrderAndFillsBucketsOfOneType) {
  constexpr std::size_t kBucketBytes = std::size_t{1} << 20U, kLarge = kBucketBytes / 4;
  const std::vector<ArenaItem> items{
      {3, DataType::float32}, {kLarge, DataType::float32}, {5, DataType::float64}, {0, DataType::float32}};
  const ArenaPlan plan =
      plan_arena(items, std::vector<std::size_t>{1, 2, 0, 3}, kBucketBytes, ReduceOp::sum, 0.5, true);
  ASSERT_EQ(plan.epochs.buckets.size(), 3U);
  EXPECT_EQ(plan.bucket, (std::vector<std::size_t>{2, 0, 1, 2}));
  EXPECT_EQ(plan.flag, (std::vector<std::size_t>{2, 0, 1, 3}));
  EXPECT_EQ(plan.begin_bytes[1], 0U);
  EXPECT_EQ(plan.begin_bytes[2], kBucketBytes);
  EXPECT_EQ(plan.begin_bytes[0], kBucketBytes + 64);
  EXPECT_EQ(plan.epochs.buckets[1].dtype, DataType::float64);
  EXPECT_EQ(plan.epochs.buckets[2].flag_count, 2U);
  EXPECT_EQ(plan.epochs.scale, 0.5);
}

TEST(PlanArena, HasASmallFirstBucket) {
  const std::vector<ArenaItem> items(40, {4096, DataType::float32});  // 16 KiB each
  std::vector<std::size_t> order(items.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const ArenaPlan plan = plan_arena(items, order, 256U << 10U, ReduceOp::sum, 1.0, false);
  ASSERT_EQ(plan.epochs.buckets.size(), 4U);
  EXPECT_EQ(plan.epochs.buckets[0].flag_count, 4U);
  EXPECT_EQ(plan.epochs.buckets[1].flag_count, 16U);
  EXPECT_EQ(plan.epochs.buckets[2].flag_count, 16U);
  EXPECT_EQ(plan.epochs.buckets[3].flag_count, 4U);
}

TEST(BucketBytes, AreFewerTheMoreTimeBackwardTakes) {
  using std::chrono::milliseconds;
  constexpr std::size_t kTotal = 100'000'000;
  EXPECT_EQ(bucket_bytes_for(kTotal, milliseconds(0)), kMostBucketBytes);
  EXPECT_EQ(bucket_bytes_for(kTotal, milliseconds(20)), 1'000'000U);
  EXPECT_EQ(bucket_bytes_for(kTotal, milliseconds(10'000)), kLeastBucketBytes);
  EXPECT_EQ(bucket_bytes_for(0, milliseconds(10)), kLeastBucketBytes);
  EXPECT_EQ(bucket_bytes_for(kTotal, milliseconds(-1)), kMostBucketBytes);
}

TEST(PlanArena, GivesLargeGradientsPagesOfTheirOwn) {
  const std::vector<ArenaItem> items{{3, DataType::float32},
                                     {70'001, DataType::float32},
                                     {5, DataType::float32},
                                     {65'536, DataType::float32}};
  const ArenaPlan plan = plan_arena(items, std::vector<std::size_t>{0, 1, 2, 3}, std::size_t{4} << 20U,
                                    ReduceOp::sum, 1.0, false);
  EXPECT_EQ(plan.begin_bytes, (std::vector<std::size_t>{0, 4096, 4096 + 282'624, 8192 + 282'624}));
  ASSERT_EQ(plan.epochs.buckets.size(), 1U);
  EXPECT_EQ(plan.epochs.buckets[0].count * 4, plan.epochs.payload_bytes);
  EXPECT_EQ(plan.epochs.payload_bytes, 8192U + 282'624 + 262'144);
}

// docs/performance.md: one copy of the gradients a rank, and nothing else.
TEST(PlanArena, CostsOneCopyOfTheGradients) {
  std::vector<ArenaItem> items;
  std::vector<std::size_t> order;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < 161; ++i) {
    items.push_back({1000 + 4000 * i, DataType::float32});
    order.push_back(160 - i);
    bytes += 4 * items.back().count;
  }
  const ArenaPlan plan = plan_arena(items, order, std::size_t{1} << 20U, ReduceOp::sum, 1.0, false);
  EXPECT_LT(plan.epochs.payload_bytes, bytes + std::size_t{161} * 4096);
  EXPECT_LT(EpochLayout(plan.epochs).total_bytes, bytes + bytes / 500);
}

}  // namespace
}  // namespace hvd
