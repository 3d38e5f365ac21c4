// Where each gradient lies in the arena, and which are published together: a pure function, with the same result on every rank.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <vector>

#include "horovod_cpp/coordinator/epoch_plan.h"

namespace hvd {

struct ArenaItem {
  std::size_t count = 0;  // elements
  DataType dtype = DataType::float32;
};

struct ArenaPlan {
  EpochPlan epochs;
  // By gradient:
  std::vector<std::size_t> begin_bytes;  // in the payload
  std::vector<std::size_t> bucket;
  std::vector<std::size_t> flag;  // set if the rank has used it
};

// How large a bucket should be for gradients of `total_bytes` that come within `backward`: as small as may be, so that little is left to reduce
// when backward ends, while all buckets together cost at most 1 % of its time.
std::size_t bucket_bytes_for(std::size_t total_bytes, std::chrono::nanoseconds backward);
inline constexpr std::size_t kLeastBucketBytes = std::size_t{64} << 10U;
inline constexpr std::size_t kMostBucketBytes = std::size_t{4} << 20U;
// Gradients of this size and more share no page with others.
inline constexpr std::size_t kLeastBytesOnOwnPages = std::size_t{256} << 10U;

// `order`: every index of `items` once, as gradients are expected to come. A bucket holds gradients of one type, one after another in that
// order, at least bucket_bytes of them if there are so many; the first one a quarter, so that there is something to reduce early. Gradients
// start at multiples of 64 bytes, large ones at pages. op, scale, wants_squares: see EpochPlan.
ArenaPlan plan_arena(std::span<const ArenaItem> items, std::span<const std::size_t> order,
                     std::size_t bucket_bytes, ReduceOp op, double scale, bool wants_squares);

}  // namespace hvd
