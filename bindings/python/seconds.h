// Seconds as Python gives them.
#pragma once

#include <chrono>
#include <optional>

#include "horovod_cpp/base/deadline.h"

namespace hvd {

// None: no limit. Not above a century, which is as good.
inline Deadline deadline_after(std::optional<double> seconds) {
  constexpr double kCentury = 100.0 * 365 * 24 * 3600;
  if (!seconds || *seconds > kCentury) return Deadline::never();
  return Deadline::after(
      std::chrono::duration_cast<Deadline::Clock::duration>(std::chrono::duration<double>(*seconds)));
}

}  // namespace hvd
