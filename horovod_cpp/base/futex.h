// Waiting for a 32-bit word to change, across threads and processes that share the word's memory.
#pragma once

#include <atomic>
#include <cstdint>

#include "horovod_cpp/base/deadline.h"

namespace hvd {

static_assert(sizeof(std::atomic<std::uint32_t>) == 4 && std::atomic<std::uint32_t>::is_always_lock_free);

// Sleeps while `word` holds `seen`, until a wake, the deadline or a spurious wake-up. The caller checks its condition again.
void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline);
// Wakes every sleeper on `word`, in every process that maps it.
void futex_wake_all(const std::atomic<std::uint32_t>& word);

// How long to spin and yield before sleeping. Spinning steals the core from the rank that is awaited when ranks outnumber
// cores, so for_ranks() gives none then.
struct SpinLimits {
  int spins = 0;   // pause instructions
  int yields = 0;  // sched_yield calls
  static SpinLimits for_ranks(int ranks_on_host);
};

// One busy-wait step of the CPU.
inline void cpu_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace hvd
