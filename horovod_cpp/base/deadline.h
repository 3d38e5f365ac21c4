// A point in time by which a blocking call must return. Every blocking call of the core takes one.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

namespace hvd {

class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  static Deadline never() { return Deadline(Clock::time_point::max()); }
  static Deadline after(Clock::duration duration) {
    const auto now = Clock::now();
    return duration > Clock::time_point::max() - now ? never() : Deadline(now + duration);
  }
  static Deadline at(Clock::time_point when) { return Deadline(when); }

  bool is_never() const { return when_ == Clock::time_point::max(); }
  bool passed() const { return !is_never() && Clock::now() >= when_; }
  Clock::time_point when() const { return when_; }
  Deadline earlier(Deadline other) const { return Deadline(std::min(when_, other.when_)); }

  // Time left, never negative; nothing if there is no limit.
  std::optional<Clock::duration> remaining() const {
    if (is_never()) return std::nullopt;
    return std::max(Clock::duration::zero(), when_ - Clock::now());
  }
  // For poll(2) and epoll_wait(2): -1 for no limit, otherwise rounded up to whole milliseconds.
  int poll_timeout_ms() const {
    const auto left = remaining();
    if (!left) return -1;
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(*left).count();
    return static_cast<int>(std::min<long long>(ms, 1 << 30));
  }

 private:
  explicit Deadline(Clock::time_point when) : when_(when) {}
  Clock::time_point when_;
};

}  // namespace hvd
