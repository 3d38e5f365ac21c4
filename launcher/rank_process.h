// Starts one rank.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "launcher/process_setup.h"

namespace hvd::launcher {

struct RankStart {
  int rank = 0;
  std::string program;                 // a path
  std::vector<std::string> arguments;  // the first is the program's name as the user gave it
  std::vector<std::string> environment;
  std::vector<int> cpus;  // to bind to; empty: not bound
  // Not owned; become the rank's standard descriptors.
  int stdin_fd = -1;
  int stdout_fd = -1;
  int stderr_fd = -1;
  // Not owned. Inherited by the program under the same number (secure/job_key.h).
  int job_key_fd = -1;
  // Not owned. Gets a StartFailure if the program cannot be executed; closed on exec.
  int failure_fd = -1;
};

struct StartFailure {
  int rank = 0;
  int error = 0;  // errno of execve
};

// Forks. The rank leads a process group of its own and dies with the calling thread. aborted if there can be
// no further process.
Result<pid_t> start_rank(const RankStart& start, const ProcessSetup& setup);

}  // namespace hvd::launcher
