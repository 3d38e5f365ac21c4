// What the user asked hvdrun to run. Values; filled by command_line, read by everything else.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace hvd::launcher {

// Exit statuses of hvdrun itself, as shells use them.
inline constexpr int kExitUsage = 2;            // bad command line, or no room for that many ranks
inline constexpr int kExitNotExecutable = 126;  // the program is there, but cannot be executed
inline constexpr int kExitNotFound = 127;       // there is no such program
inline constexpr int kExitSignalBase = 128;     // plus the number of the signal that ended it

struct JobOptions {
  int num_proc = 0;
  // The job goes on without ranks that it loses while this many are left; 0: it ends with the first …
  int min_num_proc = 0;
  // … and those who meet again wait this long for a rank that lives and does not come.
  std::chrono::milliseconds meet_again_patience{30000};
  // The program as the user named it, then its arguments; never empty in a job.
  std::vector<std::string> command;
  bool bind = true;              // bind ranks to cores of their own
  bool prefix = true;            // "[rank] " before each line, if there is more than one rank
  bool timestamp = false;        // the time before each line
  std::string output_directory;  // also write rank.N/stdout and rank.N/stderr there; empty: do not
  bool verbose = false;
  bool as_horovod = false;  // import horovod in a rank's Python gets horovod_cpp
  std::string
      timeline;  // file that the ranks' timelines become in the end; empty: none, or as HVD_TIMELINE says
  // After a rank has failed, the others have this long to end by themselves …
  std::chrono::milliseconds failure_grace{5000};
  // … and after SIGTERM (or a signal that was passed on) this long until SIGKILL.
  std::chrono::milliseconds kill_grace{10000};
  // Further variables of every rank: {"HVD_START_TIMEOUT", "60"}.
  std::vector<std::pair<std::string, std::string>> settings;
};

}  // namespace hvd::launcher
