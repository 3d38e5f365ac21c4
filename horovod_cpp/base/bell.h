// Bell: who waits for words in shared memory sleeps on it; who changes such a word rings it. Zeroed memory is its initial state.
//
// Why no wake-up is lost: a sleeper first counts itself in `sleepers`, then reads the doorbell, then looks at the words again; a writer
// first writes its word, then reads `sleepers`, then rings. All of it is sequentially consistent (also the words, there), so either the
// writer sees the sleeper or the sleeper sees the word; and a bell rung in between has changed what the sleeper hands to the kernel.
// Threading: any thread of any process that maps it.
#pragma once

#include <atomic>
#include <cstdint>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/futex.h"

namespace hvd {

struct alignas(128) Bell {
  std::atomic<std::uint32_t> doorbell;
  std::atomic<std::uint32_t> sleepers;

  // After the word was written. No system call unless somebody sleeps.
  void ring_if_needed() {
    if (sleepers.load() != 0) ring();
  }
  // Also for sleepers that could not be counted: a rank that was killed in between.
  void ring() {
    doorbell.fetch_add(1);
    futex_wake_all(doorbell);
  }
  // Until a ring, the deadline or a spurious wake-up; not at all if is_over() holds.
  template <class IsOver>
  void sleep_unless(IsOver&& is_over, Deadline deadline) {
    sleepers.fetch_add(1);
    const std::uint32_t seen = doorbell.load();
    if (!is_over()) futex_wait(doorbell, seen, deadline);
    sleepers.fetch_sub(1);
  }
};

}  // namespace hvd
