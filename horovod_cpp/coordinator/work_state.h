// WorkState: the shared outcome of a submitted operation, between the coordinator that ends it and everyone who waits.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/ports/collectives.h"

namespace hvd {

// The shared outcome. Written once, by the coordinator.
class WorkState {
 public:
  // Publishes the outcome; `completion` is the end of the operation on its device, nullptr on the host; `result` as in Work. The first
  // call wins.
  void finish(Status status, Completion completion, std::vector<std::int64_t> result = {});
  bool done() const;
  // False if the deadline passed first.
  bool wait(Deadline deadline) const;
  // Only when done().
  const Status& status() const { return status_; }
  const Completion& completion() const { return completion_; }
  const std::vector<std::int64_t>& result() const { return result_; }

 private:
  std::atomic<bool> claimed_{false};
  mutable std::atomic<std::uint32_t> done_{0};
  Status status_;
  Completion completion_;
  std::vector<std::int64_t> result_;
};

}  // namespace hvd
