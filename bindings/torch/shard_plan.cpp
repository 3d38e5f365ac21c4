#include "bindings/torch/shard_plan.h"

#include <algorithm>

namespace hvd {
namespace {

// A cache line of the smallest type.
constexpr std::size_t kUnit = 64;

std::size_t units_of(std::size_t elements) { return (elements + kUnit - 1) / kUnit; }

}  // namespace

ShardPlan plan_shards(std::span<const ShardItem> items, std::size_t pools, std::size_t rank, std::size_t size,
                      std::size_t most_elements) {
  ShardPlan plan;
  std::vector<std::size_t> units(pools, 0);
  for (const ShardItem& item : items) {
    plan.begin.push_back(units[item.pool] * kUnit);
    units[item.pool] += units_of(item.count);
  }
  for (const std::size_t all : units) {
    plan.bounds.emplace_back();
    for (std::size_t r = 0; r <= size; ++r) plan.bounds.back().push_back(all * r / size * kUnit);
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto& bounds = plan.bounds[items[i].pool];
    const std::size_t end = std::min(plan.begin[i] + items[i].count, bounds[rank + 1]);
    for (std::size_t at = std::max(plan.begin[i], bounds[rank]); at < end; at += most_elements)
      plan.pieces.push_back({i, at - plan.begin[i], std::min(most_elements, end - at)});
  }
  return plan;
}

}  // namespace hvd
