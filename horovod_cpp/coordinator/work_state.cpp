#include "horovod_cpp/coordinator/work_state.h"

#include "horovod_cpp/base/futex.h"

namespace hvd {

namespace {

constexpr std::uint32_t kNobodySleeps = 0, kDone = 1, kSomebodySleeps = 2;

}  // namespace

void WorkState::finish(Status status, Completion completion, std::vector<std::int64_t> result) {
  if (claimed_.exchange(true)) return;
  status_ = std::move(status);
  completion_ = std::move(completion);
  result_ = std::move(result);
  if (done_.exchange(kDone, std::memory_order_acq_rel) == kSomebodySleeps) futex_wake_all(done_);
}

bool WorkState::done() const { return done_.load(std::memory_order_acquire) == kDone; }

bool WorkState::wait(Deadline deadline) const {
  while (!done()) {
    if (deadline.passed()) return false;
    std::uint32_t state = kNobodySleeps;
    if (done_.compare_exchange_strong(state, kSomebodySleeps) || state == kSomebodySleeps)
      futex_wait(done_, kSomebodySleeps, deadline);
  }
  return true;
}

}  // namespace hvd
