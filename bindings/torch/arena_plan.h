// Where each gradient lies in the arena, and which are published together: a pure function, with the same result on every rank.
#pragma once

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

// `order`: every index of `items` once, as gradients are expected to come. A bucket holds gradients of one type, one after another in that
// order, at least kArenaBucketBytes of them if there are so many. Gradients start at multiples of 64 bytes. op, scale, wants_squares: see EpochPlan.
inline constexpr std::size_t kArenaBucketBytes = std::size_t{1} << 20U;
ArenaPlan plan_arena(std::span<const ArenaItem> items, std::span<const std::size_t> order, ReduceOp op,
                     double scale, bool wants_squares);

}  // namespace hvd
