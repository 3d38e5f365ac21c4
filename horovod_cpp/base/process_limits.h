// What the system lets this process have, and failures that come from it.
#pragma once

#include <csignal>
#include <cstddef>
#include <functional>
#include <string>
#include <thread>

#include "horovod_cpp/base/status.h"

namespace hvd {

// How large a file, or a nameless memory, may become. A write beyond it would not only fail: it raises SIGXFSZ, which ends the program. So
// look before.
std::size_t file_size_limit_bytes();

// The system's words for an errno value; where a limit of this process may be the reason, with the limit and how to raise it.
std::string error_text(int error_number);

// unavailable if the system has no room for a thread.
Result<std::thread> start_thread(std::function<void()> body);

// While it lives, this thread takes no signal (but SIGKILL): for system calls that begin anew when one comes, and never end under a
// profiler's timer.
class SignalsBlocked {
 public:
  SignalsBlocked();
  ~SignalsBlocked();
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace hvd
