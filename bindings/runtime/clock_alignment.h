// How far the clocks of two hosts are apart, as NTP finds it: by asking a few times and believing the fastest answer.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>

#include "horovod_cpp/ports/transport.h"

namespace hvd {

// One question: when it was sent and its answer received, by this clock; what the other clock showed in between. Nanoseconds.
struct ClockSample {
  std::int64_t sent = 0;
  std::int64_t theirs = 0;
  std::int64_t received = 0;
};

// What this clock is ahead of the other; wrong by at most half of the fastest round trip. Pure. 0 without samples.
std::chrono::nanoseconds clock_ahead(std::span<const ClockSample> samples);

// Collective: what this rank's steady clock is ahead of rank 0's.
Result<std::chrono::nanoseconds> measure_clock_ahead(Transport& transport, Deadline deadline);

}  // namespace hvd
