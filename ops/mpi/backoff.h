// How to pass the time between two polls of MPI, which makes progress only while it is called and offers
// nothing to sleep on.
//
// Spins first (not at all when ranks outnumber cores), then yields, then sleeps an eighth of the time that nothing has happened: a
// wait costs at most an eighth more than it must. At most 1 ms; 4 ms once nothing has happened for 100 ms and 10 ms after a second,
// because waking up every millisecond alone takes 0.5 % of a core on a good day, and 2.5 % on a busy virtual machine.
#pragma once

#include <atomic>
#include <cstdint>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/futex.h"

namespace hvd::mpi {

// Rung to end a pause early. Any thread.
class Doorbell {
 public:
  void ring() {
    rings_.fetch_add(1);
    futex_wake_all(rings_);
  }
  std::uint32_t rings() const { return rings_.load(); }
  // Returns at once if the bell has rung since `seen` was read.
  void sleep(std::uint32_t seen, Deadline deadline) const { futex_wait(rings_, seen, deadline); }

 private:
  std::atomic<std::uint32_t> rings_{0};
};

// What is waited for.
enum class Awaiting {
  completion,  // of an operation that is under way: a poll that takes long moved bytes, so poll on
  arrival,     // of something that a peer may begin at any time
};

// One wait. Belongs to one thread.
class Backoff {
 public:
  Backoff(Awaiting awaiting, int ranks_on_host)
      : awaiting_(awaiting), limits_(SpinLimits::for_ranks(ranks_on_host)) {}

  // After a poll that did not end the wait. `seen` was read from `bell` before that poll.
  // Returns by `deadline`.
  void pause(const Doorbell& bell, std::uint32_t seen, Deadline deadline);

 private:
  Awaiting awaiting_;
  SpinLimits limits_;
  bool slept_ = false;
  int spins_ = 0;
  Deadline::Clock::time_point idle_since_ = Deadline::Clock::now();
  Deadline::Clock::time_point resumed_ = idle_since_;  // end of the last pause
};

}  // namespace hvd::mpi
