#include "tests/gpu/standin/cuda/stream_queue.h"

#include <thread>
#include <utility>

namespace hvd::standin {

void Point::pass() {
  const std::lock_guard lock(mutex_);
  is_passed_ = true;
  passed_changed_.notify_all();
}

bool Point::is_passed() const {
  const std::lock_guard lock(mutex_);
  return is_passed_;
}

void Point::wait() const {
  std::unique_lock lock(mutex_);
  passed_changed_.wait(lock, [&] { return is_passed_; });
}

bool Point::wait_for(std::chrono::seconds longest) const {
  std::unique_lock lock(mutex_);
  return passed_changed_.wait_for(lock, longest, [&] { return is_passed_; });
}

StreamQueue::StreamQueue() : shared_(std::make_shared<Shared>()) {
  std::thread([shared = shared_] { work(shared); }).detach();
}

StreamQueue::~StreamQueue() {
  const std::lock_guard lock(shared_->mutex);
  shared_->is_closed = true;
  shared_->changed.notify_all();
}

void StreamQueue::add(std::function<void()> task) {
  const std::lock_guard lock(shared_->mutex);
  shared_->tasks.push_back(std::move(task));
  shared_->changed.notify_all();
}

std::shared_ptr<Point> StreamQueue::mark() {
  auto point = std::make_shared<Point>();
  add([point] { point->pass(); });
  return point;
}

void StreamQueue::work(const std::shared_ptr<Shared>& shared) {
  for (;;) {
    std::function<void()> task;
    {
      std::unique_lock lock(shared->mutex);
      shared->changed.wait(lock, [&] { return shared->is_closed || !shared->tasks.empty(); });
      if (shared->tasks.empty()) return;
      task = std::move(shared->tasks.front());
      shared->tasks.pop_front();
    }
    task();
  }
}

}  // namespace hvd::standin
