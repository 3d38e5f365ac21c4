// This test program, run again with other arguments and environment:
// for cases that need a process of their own.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "horovod_cpp/base/unique_fd.h"

namespace hvd {

struct ChildEnd {
  bool exited_by_itself = false;  // false: killed by a signal, or by us after the time
  int exit_code = -1;
  std::string output;  // standard output and error
};

class ChildProcess {
 public:
  // `environment` ("NAME=value") is added to this process's.
  // `inherited` keeps its number in the child; -1: none.
  ChildProcess(std::vector<std::string> arguments, std::vector<std::string> environment, int inherited = -1);
  ~ChildProcess();  // kills it if it is still there
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  void kill();
  ChildEnd wait(std::chrono::seconds longest);

 private:
  pid_t pid_ = -1;
  UniqueFd output_;
};

}  // namespace hvd
