// What this machine lets hvdrun have, and whether it is enough for a job: told before the first rank is started.
#pragma once

#include <limits>
#include <string>

#include "horovod_cpp/base/status.h"
#include "launcher/job.h"

namespace hvd::launcher {

struct MachineLimits {
  static constexpr long long kNone = std::numeric_limits<long long>::max();
  long long open_files = kNone;      // at a time, …
  long long open_now = 0;            // … of which the caller of hvdrun has left these
  long long processes = kNone;       // that can be added at most
  std::string processes_limit = {};  // what says so
};

// Once ProcessSetup has raised what it may.
MachineLimits read_machine_limits();

// invalid_argument: what is needed, what there is, and what to do. Pure.
Status check_machine_limits(const JobOptions& options, const MachineLimits& limits);

}  // namespace hvd::launcher
