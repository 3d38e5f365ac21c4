#include "bindings/torch/arena_plan.h"

#include <algorithm>
#include <cstdint>

namespace hvd {
namespace {

constexpr std::size_t kLineBytes = 64;
constexpr std::size_t kPageBytes = 4096;

std::size_t round_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

std::size_t unit_of(const ArenaItem& item) {
  const bool has_own_pages = item.count * size_in_bytes(item.dtype) >= kLeastBytesOnOwnPages;
  return has_own_pages ? kPageBytes : kLineBytes;
}

std::size_t bytes_of(const ArenaItem& item) {
  return round_up(item.count * size_in_bytes(item.dtype), unit_of(item));
}

struct Growing {
  DataType dtype;
  std::size_t bytes;
  std::vector<std::size_t> members;
};

}  // namespace

std::size_t bucket_bytes_for(std::size_t total_bytes, std::chrono::nanoseconds backward) {
  // To publish a bucket and to find it, on one rank.
  constexpr auto kCost = std::chrono::microseconds(2);
  const auto affordable = std::max<std::int64_t>(1, backward / (100 * kCost));
  const std::size_t bytes = total_bytes / static_cast<std::size_t>(affordable) / kLineBytes * kLineBytes;
  return std::clamp(bytes, kLeastBucketBytes, kMostBucketBytes);
}

ArenaPlan plan_arena(std::span<const ArenaItem> items, std::span<const std::size_t> order,
                     std::size_t bucket_bytes, ReduceOp op, double scale, bool wants_squares) {
  std::vector<Growing> buckets;
  const auto is_open = [&](const Growing& bucket) {
    return bucket.bytes < (&bucket == &buckets.front() ? bucket_bytes / 4 : bucket_bytes);
  };
  for (const std::size_t index : order) {
    const ArenaItem& item = items[index];
    auto open = std::find_if(buckets.begin(), buckets.end(), [&](const Growing& bucket) {
      return bucket.dtype == item.dtype && is_open(bucket);
    });
    if (open == buckets.end()) open = buckets.insert(open, {item.dtype, 0, {}});
    open->members.push_back(index);
    open->bytes += bytes_of(item);
  }
  ArenaPlan plan;
  plan.begin_bytes.resize(items.size());
  plan.bucket.resize(items.size());
  plan.flag.resize(items.size());
  EpochPlan& epochs = plan.epochs;
  epochs.op = op;
  epochs.scale = scale;
  epochs.wants_squares = wants_squares;
  for (const Growing& bucket : buckets) {
    epochs.payload_bytes = round_up(epochs.payload_bytes, unit_of(items[bucket.members.front()]));
    epochs.buckets.push_back({epochs.payload_bytes, 0, bucket.dtype, epochs.flags, bucket.members.size()});
    EpochBucket& placed = epochs.buckets.back();
    for (const std::size_t index : bucket.members) {
      epochs.payload_bytes = round_up(epochs.payload_bytes, unit_of(items[index]));
      plan.begin_bytes[index] = epochs.payload_bytes;
      plan.bucket[index] = epochs.buckets.size() - 1;
      plan.flag[index] = epochs.flags++;
      epochs.payload_bytes += bytes_of(items[index]);
    }
    placed.count = (epochs.payload_bytes - placed.begin_bytes) / size_in_bytes(bucket.dtype);
  }
  return plan;
}

}  // namespace hvd
