// Where a process stands among those that have met. Pure.
#pragma once

#include <span>

#include "horovod_cpp/base/config.h"

namespace hvd {

// `hosts[i]`: the number of the host of the process that becomes rank i; `mine`: the rank of this process. Hosts are numbered anew, in the
// order of their numbers.
Placement place_among(std::span<const int> hosts, int mine);

}  // namespace hvd
