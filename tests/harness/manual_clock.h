// A Clock whose hands a test turns.
#pragma once

#include <atomic>
#include <chrono>

#include "horovod_cpp/ports/clock.h"

namespace hvd {

// Starts at an arbitrary point, not at zero. Any thread may read and advance it.
class ManualClock final : public Clock {
 public:
  time_point now() const override { return time_point(time_point::duration(ticks_.load())); }
  void advance(time_point::duration duration) { ticks_.fetch_add(duration.count()); }

 private:
  std::atomic<time_point::duration::rep> ticks_{std::chrono::nanoseconds(std::chrono::hours(1)).count()};
};

}  // namespace hvd
