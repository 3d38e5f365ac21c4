#include "horovod_cpp/coordinator/work_state.h"

#include "horovod_cpp/base/futex.h"

namespace hvd {

void WorkState::finish(Status status, Completion completion, std::vector<std::int64_t> result) {
  if (claimed_.exchange(true)) return;
  status_ = std::move(status);
  completion_ = std::move(completion);
  result_ = std::move(result);
  done_.store(1, std::memory_order_release);
  futex_wake_all(done_);
}

bool WorkState::done() const { return done_.load(std::memory_order_acquire) != 0; }

bool WorkState::wait(Deadline deadline) const {
  while (!done()) {
    if (deadline.passed()) return false;
    futex_wait(done_, 0, deadline);
  }
  return true;
}

}  // namespace hvd
