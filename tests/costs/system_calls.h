// The system calls of a thread, all of them: the kernel hands each one to a signal handler, which counts it and makes it.
#pragma once

#include <string>

namespace hvd {

// Counts those of the calling thread while it lives. One a thread. Starts and ends no threads meanwhile.
class SystemCalls {
 public:
  SystemCalls();
  ~SystemCalls();
  SystemCalls(const SystemCalls&) = delete;
  SystemCalls& operator=(const SystemCalls&) = delete;

  // False: this machine or its kernel cannot.
  static bool can_be_counted();

  int count() const;
  int count(long number) const;  // SYS_futex …
  // "3 × 202, 1 × 24": numbers as in <asm/unistd_64.h>.
  std::string describe() const;
};

}  // namespace hvd
