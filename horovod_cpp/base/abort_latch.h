// Keeps the first failure of a world. Everyone who blocks looks at it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"

namespace hvd {

class AbortLatch {
 public:
  // True if this call was the first.
  bool set(const Status& why) {
    const std::lock_guard lock(mutex_);
    if (is_set_.load(std::memory_order_relaxed)) return false;
    why_ = why;
    is_set_.store(true, std::memory_order_release);
    changed_.notify_all();
    return true;
  }
  // Sleeps until set, or the deadline; true if set.
  bool wait(Deadline deadline) {
    std::unique_lock lock(mutex_);
    return changed_.wait_until(lock, deadline.when(),
                               [this] { return is_set_.load(std::memory_order_relaxed); });
  }
  bool is_set() const { return is_set_.load(std::memory_order_acquire); }
  // ok while nothing failed.
  Status status() const {
    if (!is_set()) return {};
    const std::lock_guard lock(mutex_);
    return why_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> is_set_{false};
  Status why_;
};

}  // namespace hvd
