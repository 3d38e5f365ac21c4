// Patience: looking again and again before sleeping in the kernel. Spins, then yields.
//
// A yield hands the core to another rank for less than a system call that sleeps and one that wakes. But where programs that do not wait
// want the core too, it costs their whole time slice, and a sleeper would be woken before them: after a yield that took long, there is none for a while.
//
// Threading: one thread at a time.
#pragma once

#include <sched.h>

#include <chrono>

#include "horovod_cpp/base/futex.h"

namespace hvd {

class Patience {
 public:
  static constexpr std::chrono::microseconds kLongYield{1000};
  static constexpr int kWaitsWithoutYield = 200;

  explicit Patience(SpinLimits limits) : limits_(limits) {}

  // True as soon as is_over() is; false when it is time to sleep.
  template <class IsOver>
  bool is_over_soon(IsOver&& is_over) {
    for (int i = 0; i < limits_.spins; ++i) {
      if (is_over()) return true;
      cpu_pause();
    }
    if (waits_without_yield_ > 0) {
      --waits_without_yield_;
      return is_over();
    }
    for (int i = 0; i < limits_.yields; ++i) {
      if (is_over()) return true;
      yield();
    }
    return is_over();
  }

 private:
  void yield() {
    const auto before = std::chrono::steady_clock::now();
    ::sched_yield();
    if (std::chrono::steady_clock::now() - before > kLongYield) waits_without_yield_ = kWaitsWithoutYield;
  }

  SpinLimits limits_;
  int waits_without_yield_ = 0;
};

}  // namespace hvd
