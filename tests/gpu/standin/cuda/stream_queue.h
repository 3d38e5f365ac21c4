// A stand-in's stream: tasks run one after the other on a thread of their own, while the caller goes on.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace hvd::standin {

// How long the host waits for a device: a test that got stuck ends with an error.
inline constexpr auto kLongestWaitOfTheHost = std::chrono::seconds(120);

// Passed once. Threads wait for it, streams wait for it, anybody may ask.
class Point {
 public:
  void pass();
  bool is_passed() const;
  void wait() const;
  bool wait_for(std::chrono::seconds longest) const;  // false: not passed yet

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable passed_changed_;
  bool is_passed_ = false;
};

class StreamQueue {
 public:
  StreamQueue();
  // The tasks that are left still run, like on a real stream.
  ~StreamQueue();
  StreamQueue(const StreamQueue&) = delete;
  StreamQueue& operator=(const StreamQueue&) = delete;

  void add(std::function<void()> task);
  // A point after everything added so far.
  std::shared_ptr<Point> mark();

 private:
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::function<void()>> tasks;
    bool is_closed = false;
  };
  static void work(const std::shared_ptr<Shared>& shared);

  std::shared_ptr<Shared> shared_;
};

}  // namespace hvd::standin
