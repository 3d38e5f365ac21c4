// Which ranks run, and which of them still belong to the job. Pure.
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <set>
#include <vector>

namespace hvd::launcher {

class Roster {
 public:
  void started(pid_t pid, int rank) { running_[pid] = rank; }
  // The rank of this process; nothing if it is none.
  std::optional<int> ended(pid_t pid);
  // These ranks no longer belong to the job (all there are so far); those of them that run and were not known yet.
  std::map<pid_t, int> give_up(const std::vector<int>& ranks);
  bool was_given_up(int rank) const { return given_up_.contains(rank); }

  const std::map<pid_t, int>& running() const { return running_; }
  // That run and belong to the job, ascending.
  std::vector<int> left() const;

 private:
  std::map<pid_t, int> running_;
  std::set<int> given_up_;
};

}  // namespace hvd::launcher
