// Which rank's end is the job's end: the exit status of hvdrun and its last words. Pure.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace hvd::launcher {

// How one rank ended.
struct RankEnd {
  int rank = 0;
  pid_t pid = 0;
  int exit_code = 0;  // meaningful if signal is 0
  int signal = 0;     // that killed it; 0: it exited
  std::chrono::steady_clock::time_point seen;
  bool ended_by_us = false;  // after hvdrun had sent it SIGTERM or SIGKILL
  std::string start_error;   // why its program could not be executed; empty: it ran
  bool job_went_on = false;  // it failed, and enough were left

  bool failed() const { return exit_code != 0 || signal != 0; }
};

struct Outcome {
  int exit_status = 0;
  std::vector<std::string> lines;  // for people, the first cause first; empty if all went well
};

// `ends` in the order in which they were seen. `passed_on`: the terminating signal that hvdrun had received
// and passed on before any rank failed.
//
// The job's exit status is that of the rank that failed first: its exit code, or 128 + the signal that killed
// it. Ranks that lose a peer end within milliseconds, and the order may not be known: within 200
// ms of the first failure a rank that was killed from outside or crashed goes before ranks that exited or
// aborted, as those that notice do. After a signal to hvdrun: 0 if all ranks ended with 0 nevertheless (they
// took it as a request), else 128 + the signal. If the job went on without every rank that failed, it has ended well.
Outcome outcome_of(const std::vector<RankEnd>& ends, std::optional<int> passed_on);

// "rank 2 (pid 7) was killed by SIGKILL; the job goes on with ranks 0, 1, 3"
std::string words_of_loss(const RankEnd& end, const std::vector<int>& left);

}  // namespace hvd::launcher
