// The children of this process, also those that it did not start: how they ended, and the signals that wake it.
//
// Threading: the main thread.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace hvd::bench {

// Takes note of all children that have ended.
void reap();
// "exit code 1", "signal 9"; nothing: it has not been reaped.
std::optional<std::string> how_ended(pid_t pid);
// In a child before exec: signals as this program was given them.
void reset_signals();

}  // namespace hvd::bench
