// Carries what the user types to rank 0.
//
// Only for a terminal: anything else is handed to rank 0 itself, which then reads no more
// than it wants. Rank 0 is not in the terminal's foreground process group, so the front
// process reads for it, and only while that is in the foreground: a job in the background
// is neither stopped by SIGTTIN nor does it steal what is typed for the shell.
#pragma once

#include <poll.h>

#include <string>
#include <vector>

#include "horovod_cpp/base/unique_fd.h"

namespace hvd::launcher {

class StdinRelay {
 public:
  // Nothing to relay.
  StdinRelay() = default;
  // `terminal` is not owned; `to_rank` is the writing end of rank 0's standard input.
  StdinRelay(int terminal, UniqueFd to_rank);

  // Appends exactly one entry; handle() gets it back after poll.
  void add_to(std::vector<pollfd>& polls) const;
  void handle(const pollfd& result);
  // -1, or when to look again whether the job has come to the foreground.
  int poll_timeout_ms() const;

 private:
  enum class State { done, watching, writing, in_background };
  State state() const;
  bool is_in_foreground() const;
  void read_some();
  void write_some();

  int terminal_ = -1;
  UniqueFd reopened_;
  UniqueFd to_rank_;
  std::string pending_;
};

}  // namespace hvd::launcher
