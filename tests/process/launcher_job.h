// hvdrun as a child of a test: started, read, signalled, and searched for survivors.
//
// Every job carries a mark in its environment, which whatever it starts inherits; so a process of the job is
// found in /proc wherever it has gone. One thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "horovod_cpp/base/unique_fd.h"

namespace hvd {

struct LauncherJobOptions {
  std::vector<std::pair<std::string, std::string>> environment;
  // Not owned; -1: /dev/null, a pipe of the job, the same.
  int stdin_fd = -1;
  int stdout_fd = -1;
  bool merge_outputs = false;        // stderr goes where stdout goes
  std::vector<std::string> wrapper;  // a program that gets hvdrun's command line appended, and execs it
  std::vector<int> ignored_signals;  // as nohup does
  // A terminal that becomes the job's, in a session of its own; hvdrun in its foreground.
  int controlling_terminal = -1;
};

class LauncherJob {
 public:
  // hvdrun with `arguments`.
  explicit LauncherJob(const std::vector<std::string>& arguments, const LauncherJobOptions& options = {});
  // Kills whatever is left.
  ~LauncherJob();
  LauncherJob(const LauncherJob&) = delete;
  LauncherJob& operator=(const LauncherJob&) = delete;

  pid_t pid() const { return pid_; }
  pid_t supervisor() const;  // 0 if there is none
  const std::string& out() const { return out_; }
  const std::string& err() const { return err_; }
  // out and err, for messages of tests.
  std::string both() const;

  // Reads until stdout (or stderr) holds `words` `times` times.
  // False after a minute, or if the output ended without.
  bool wait_for(const std::string& words, int times = 1);
  // Reads until hvdrun has ended. Its exit status, 128 + signal, or -1 after a minute.
  int finish();
  // Stops reading, as `head` does when it has seen enough.
  void close_stdout() { stdout_.reset(); }

  // Processes with the job's mark.
  std::vector<pid_t> processes() const;
  // Waits until there are none; what is left after `limit`, as "pid command".
  std::string survivors(std::chrono::seconds limit = std::chrono::seconds(20)) const;

 private:
  bool read_outputs(std::chrono::milliseconds limit);

  std::string mark_;
  pid_t pid_ = -1;
  bool ended_ = false;
  int exit_status_ = -1;
  UniqueFd stdout_;
  UniqueFd stderr_;
  std::string out_;
  std::string err_;
};

// Lines of `words`, without their ends.
std::vector<std::string> lines_of(const std::string& words);
// 'R', 'S', 'T' … of a process; 'X' if there is none.
char state_of(pid_t pid);

}  // namespace hvd
