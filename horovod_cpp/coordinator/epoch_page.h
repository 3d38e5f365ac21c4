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

// The words first, then the flag.
struct EpochReason {
  std::atomic<std::uint32_t> is_said;
  std::uint32_t code;
  char why[512];
};

// At the beginning of each rank's memory. Zeroed memory is its initial state.
struct EpochPage {
  Bell bell;
  EpochWord close[2];    // [epoch mod 2]
  EpochWord outcome[2];  // of member 0 only, written by all
  // Each written once, by its own rank. One that has left may give up later, for another reason: its other threads may still wait.
  EpochReason left;
  EpochReason given_up;
};
static_assert(sizeof(EpochPage) <= EpochLayout::kPageBytes &&
              std::atomic<std::uint64_t>::is_always_lock_free);

}  // namespace hvd
