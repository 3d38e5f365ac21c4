// What each rank of an epoch's memory shows the others, before what belongs to buckets. Private to epochs*.cpp.
#pragma once

#include <atomic>
#include <cstdint>

#include "horovod_cpp/base/bell.h"
#include "horovod_cpp/coordinator/epoch_plan.h"

namespace hvd {

struct alignas(128) EpochWord {
  std::atomic<std::uint64_t> value;
};

// At the beginning of each rank's memory. Zeroed memory is its initial state.
struct EpochPage {
  Bell bell;
  EpochWord close[2];    // [epoch mod 2]
  EpochWord outcome[2];  // of member 0 only, written by all
  // Written once, by its own rank: the text, then one of the flags.
  std::atomic<std::uint32_t> has_left;
  std::atomic<std::uint32_t> has_given_up;
  std::uint32_t code;
  char why[512];
};
static_assert(sizeof(EpochPage) <= EpochLayout::kPageBytes &&
              std::atomic<std::uint64_t>::is_always_lock_free);

}  // namespace hvd
