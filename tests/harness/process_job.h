// A job of ranks as processes that a test started, watches and kills.
//
// Used by one thread, which must live as long as the job: the kernel ends the launcher when that thread ends,
// so that a test that crashes or is killed leaves no job behind.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"

namespace hvd {

inline constexpr const char* kJobFolderVariable = "HVD_TEST_JOB";
inline constexpr const char* kCaseArgument = "--hvd-process-case";

struct ProcessOptions {
  // What starts the ranks; the program and its arguments are appended. Empty: hvdrun from this program's own
  // folder, with -np n. mpirun_command(n) gives Open MPI's.
  std::vector<std::string> launcher;
  // Appended to the launcher, before the program.
  std::vector<std::string> launcher_arguments;
  std::vector<std::string> case_arguments;
  // Set in the launcher's environment, over what this process has.
  std::vector<std::pair<std::string, std::string>> environment;
  // After this the job is killed and the result says so.
  std::chrono::seconds time_limit{120};
  // How long after the launcher's end its processes may take to vanish.
  std::chrono::seconds leftover_grace{5};
};

std::vector<std::string> mpirun_command(int n);
// The folder this program lies in.
std::string program_folder();

struct ProcessResult {
  int exit_code = -1;  // the launcher's; 128 + signal if a signal ended it
  bool timed_out = false;
  std::string out;
  std::string err;
  double seconds = 0;
  // Processes of the job that outlived its launcher (they have been killed since), files in /dev/shm, /tmp or
  // TMPDIR that were not there before: one line each. Empty as it should be.
  std::vector<std::string> leftovers;
  // What the ranks wrote to process_folder(): name → content.
  std::map<std::string, std::string> files;

  // Exit code 0, in time, nothing left behind.
  bool is_clean() const { return exit_code == 0 && !timed_out && leftovers.empty(); }
  // Everything above, for a failure message.
  std::string describe() const;
};

class ProcessJob {
 public:
  // Starts n ranks of the case `case_name`. A launcher that cannot be started shows as exit code 127.
  ProcessJob(int n, const std::string& case_name, ProcessOptions options = {});
  // Kills what is still running.
  ~ProcessJob();
  ProcessJob(const ProcessJob&) = delete;
  ProcessJob& operator=(const ProcessJob&) = delete;

  // Process id of the launcher, and of a rank once its case has begun (timed_out after 30 s).
  pid_t launcher_pid() const { return launcher_; }
  Result<pid_t> rank_pid(int rank);
  // Sends the signal to the rank once its case has begun.
  Status kill_rank(int rank, int signal);
  Status kill_launcher(int signal);
  // Returns when the rank has called process_reached(point).
  Status wait_until_reached(int rank, const std::string& point);

  // An empty file in process_folder(): the ranks may look for it.
  void leave_file(const std::string& name) const;

  // Waits for the launcher to end, looks for what it left behind, and removes the job's folder. Call once.
  ProcessResult finish();

 private:
  Status wait_for_file(const std::string& file, const std::string& what);
  bool wait_for_launcher(std::chrono::steady_clock::time_point until);
  std::vector<std::string> find_leftovers();

  ProcessOptions options_;
  std::string folder_;   // of the job: output, marks of the ranks, TMPDIR
  pid_t launcher_ = -1;  // -1 once it has been waited for
  UniqueFd launcher_fd_;
  int exit_code_ = -1;
  std::chrono::steady_clock::time_point start_;
  std::set<std::string> files_before_;
};

// Starts and finishes a job during which the test does nothing.
ProcessResult run_processes(int n, const std::string& case_name, ProcessOptions options = {});

}  // namespace hvd
