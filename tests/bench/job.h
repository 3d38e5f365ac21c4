// Job: the processes of one contender, from its start until nothing is left of them.
//
// Threading: one thread, which must be the main one: processes are killed when the thread that started them ends.
#pragma once

#include <sys/types.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"
#include "tests/bench/board.h"
#include "tests/bench/contender_table.h"

namespace hvd::bench {

class Job {
 public:
  // Starts the processes, does not wait for them. `key` names the contender.
  static Result<std::unique_ptr<Job>> start(const std::string& key, const StartPlan& plan);
  // Kills whatever is left.
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  const std::string& key() const { return key_; }
  std::string title() const { return get_text(board_->title); }

  // Until all ranks have joined. Errors: aborted if one died or the user interrupted, timed_out; with the last words of its output.
  Status wait_for_join(Deadline deadline);
  // One command, and everybody's answer to it. unimplemented: the contender does not do such work. After another error it is of no use.
  Status perform(const Command& command, Deadline deadline);
  // After a `repeat`: whether all ranks have the same digest.
  Status ranks_agree() const;
  // Of the last `repeat`: last finish − last start, in seconds.
  std::vector<double> durations(int count) const;

  // CPU time of all processes of the contender that were there after its last `prepare`, its launcher's too.
  double cpu_seconds() const;
  // SIGSTOP between turns, for those that use CPU while they should sleep.
  void set_paused_between_turns() { pauses_ = true; }
  bool is_paused_between_turns() const { return pauses_; }

  // Asks the ranks to leave, waits a little, kills the rest.
  void finish();

 private:
  Job(std::string key, MappedBoard board) : key_(std::move(key)), board_(std::move(board)) {}
  Status spawn(const StartPlan& plan, int rank);
  Status wait_for_answers(Deadline deadline);
  Status look() const;
  // The rank whose answer says why this command failed, and that answer.
  std::pair<int, Answer> first_cause() const;
  Status with_last_words(const Status& status) const;
  std::vector<pid_t> find_processes() const;
  void signal_ranks(int signal) const;
  void note_shared_files();
  void kill_all();

  std::string key_;
  MappedBoard board_;
  UniqueFd output_;
  std::vector<pid_t> started_;
  std::vector<pid_t> processes_;               // to be asked for their CPU time
  std::set<std::string> shared_files_before_;  // in /dev/shm
  std::set<std::string>
      shared_files_;  // that its processes have mapped since: some leave them when they are killed
  bool pauses_ = false;
  bool is_healthy_ = true;
};

// What a Job needs of its process: descendants whose parents die become its children, signals wake it. Once, first thing in main.
void prepare_for_jobs();
// The signal that asks this process to end, or 0.
int interrupted_by();

}  // namespace hvd::bench
