#include "ops/mpi/backoff.h"

#include <sched.h>

#include <algorithm>
#include <array>

namespace hvd::mpi {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

// A poll that took longer moved bytes or added numbers;
// after a sleep even an empty one is slow, as its caches are cold.
constexpr auto kBusyPoll = microseconds(4);
constexpr auto kBusyPollAfterSleep = microseconds(15);
constexpr auto kYieldFor = microseconds(200);

// How long at most to sleep after so much idle time.
struct SleepLimit {
  Deadline::Clock::duration idle_for;
  Deadline::Clock::duration longest;
};
constexpr std::array kSleepLimits{SleepLimit{seconds(1), milliseconds(10)},
                                  SleepLimit{milliseconds(100), milliseconds(4)},
                                  SleepLimit{seconds(0), milliseconds(1)}};

Deadline::Clock::duration longest_sleep_after(Deadline::Clock::duration idle) {
  return std::find_if(kSleepLimits.begin(), kSleepLimits.end(),
                      [&](const SleepLimit& l) { return idle >= l.idle_for; })
      ->longest;
}

}  // namespace

void Backoff::pause(const Doorbell& bell, std::uint32_t seen, Deadline deadline) {
  const auto now = Deadline::Clock::now();
  if (awaiting_ == Awaiting::completion && now - resumed_ > (slept_ ? kBusyPollAfterSleep : kBusyPoll)) {
    idle_since_ = resumed_ = now;
    spins_ = 0;
    slept_ = false;
    return;
  }
  const auto idle = now - idle_since_;
  if (spins_ < limits_.spins) {
    ++spins_;
    cpu_pause();
  } else if (idle < kYieldFor) {
    ::sched_yield();
  } else {
    const auto sleep = std::min<Deadline::Clock::duration>(idle / 8, longest_sleep_after(idle));
    bell.sleep(seen, deadline.earlier(Deadline::after(sleep)));
    slept_ = true;
  }
  resumed_ = Deadline::Clock::now();
}

}  // namespace hvd::mpi
