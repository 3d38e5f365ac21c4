// Deaths: reaps the children of this process. Of those that are watched, in the order in which they died, which wait(2) does not tell.
//
// One thread; nothing blocks.
#pragma once

#include <sys/types.h>

#include <deque>
#include <map>
#include <optional>

#include "horovod_cpp/base/unique_fd.h"

namespace hvd::launcher {

class Deaths {
 public:
  struct Death {
    pid_t pid = 0;
    int status = 0;  // as of waitpid(2)
  };

  Deaths();

  // A child whose place in the order matters. Where the kernel has no pidfds it comes in any order.
  void watch(pid_t pid);
  // Reaps the next one. Nothing: no further child has ended so far.
  std::optional<Death> next();
  // After next() gave nothing: there is no child any more.
  bool nobody_is_left() const { return nobody_is_left_; }

 private:
  std::optional<pid_t> next_in_order();

  UniqueFd epoll_;  // its list of events is in the order in which they happened
  std::map<pid_t, UniqueFd> watched_;
  std::deque<pid_t> ended_;
  bool nobody_is_left_ = false;
};

}  // namespace hvd::launcher
