// Jobs that other hvdruns of this user run on this host: found through /proc.
#pragma once

#include <string>

#include "horovod_cpp/base/status.h"

namespace hvd::launcher {

// Sends SIGUSR1 to the ranks of a job, or rather to those of its processes that have a handler for it: others it would kill. `process`: a
// hvdrun; 0: the only one. Returns a sentence for the user; unavailable says what is wrong.
Result<std::string> ask_for_pictures(int process);

}  // namespace hvd::launcher
