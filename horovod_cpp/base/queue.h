// Many producers put, one consumer takes everything at once.
#pragma once

#include <mutex>
#include <utility>
#include <vector>

namespace hvd {

template <class T>
class Queue {
 public:
  // Moves `item` in; false, and `item` untouched, once the queue is closed.
  bool put(T& item) {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    items_.push_back(std::move(item));
    return true;
  }
  bool is_empty() {
    const std::lock_guard lock(mutex_);
    return items_.empty();
  }
  std::vector<T> take_all() {
    const std::lock_guard lock(mutex_);
    return std::exchange(items_, {});
  }
  // Refuses later items and returns those that nobody took.
  std::vector<T> close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    return std::exchange(items_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<T> items_;
  bool closed_ = false;
};

}  // namespace hvd
