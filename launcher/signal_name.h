// Names of signals, for people. Pure.
#pragma once

#include <string>

namespace hvd::launcher {

// "SIGKILL (9)"; "signal 40" for one without a name.
std::string name_of_signal(int signal);

}  // namespace hvd::launcher
