// Work: handle of a submitted operation.
//
// Values that share one outcome; copy freely. Every method may be called from any thread. A Work may outlive its Session: a
// Session that ends first ends its Work with StatusCode::shut_down.
#pragma once

#include <memory>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/coordinator/work_state.h"

namespace hvd {

class Work {
 public:
  Work() = default;
  explicit Work(std::shared_ptr<WorkState> state) : state_(std::move(state)) {}
  // A Work that has ended already.
  static Work finished(Status status);

  bool is_valid() const { return state_ != nullptr; }
  // Host memory: the output may be read. Device memory: the operation is enqueued, order yourself after completion().
  bool done() const { return state_->done(); }
  // Sleeps until done; returns the outcome, or timed_out (the operation goes on).
  Status wait(Deadline deadline = Deadline::never()) const;
  // The end of the operation on its device; nullptr on the host or before done().
  Completion completion() const { return state_->done() ? state_->completion() : nullptr; }
  // Once done() and ok. allgather, alltoall: rows from each member of the process set. join: {the last rank to join}. add_process_set: {its
  // id}. Otherwise nothing.
  const std::vector<std::int64_t>& result() const { return state_->result(); }

 private:
  std::shared_ptr<WorkState> state_;
};

}  // namespace hvd
