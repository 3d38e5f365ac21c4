// The processors that this process may use, from the kernel.
#pragma once

#include <vector>

#include "launcher/core_plan.h"

namespace hvd::launcher {

// The affinity mask of this process, so a taskset, cpuset or container
// around hvdrun is respected. Empty if the kernel does not say. Where /sys
// does not tell sockets and cores, processors count as neighbours by number.
std::vector<Cpu> allowed_cpus();

}  // namespace hvd::launcher
