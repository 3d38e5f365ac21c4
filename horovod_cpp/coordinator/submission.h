// Submission: one execution of a declared operation.
#pragma once

#include <functional>
#include <memory>

#include "horovod_cpp/coordinator/declaration.h"
#include "horovod_cpp/ports/device.h"
#include "horovod_cpp/ports/registered_memory.h"

namespace hvd {

// A declared operation: an index that is cheap to submit. Valid for the Session that gave it.
struct TensorId {
  std::int32_t index = -1;
};

// One execution of a declared operation. Memory is contiguous, not owned, and must stay valid until the Work is done.
//
//   allreduce, broadcast   output has the input's size, and may be the input
//   allgather, alltoall    the output's size is known only when all ranks have agreed: `allocate` is asked for it. They do not overlap
//   reducescatter          output: this rank's rows (reducescatter_rows). They do not overlap
//   share_memory           no memory goes in; `take_memory` gets what comes out
//   others                 no memory
struct Submission {
  TensorId id = {};
  const void* input = nullptr;
  void* output = nullptr;
  Extents extents = {};
  // allgather, alltoall: returns memory for the result; rows[i] of its rows come from member i of the process set (as Work::result() says
  // later). Called once, on the coordinator's thread: it must not wait for anything. What it throws ends this rank's Work.
  std::function<void*(std::span<const std::int64_t> rows)> allocate = nullptr;
  // share_memory: called once, on the coordinator's thread, if it came about.
  std::function<void(std::unique_ptr<RegisteredMemory>)> take_memory = nullptr;
  // Called once, on the coordinator's thread, as soon as all ranks know of the submission, or it has ended.
  std::function<void()> on_announced = nullptr;
  std::shared_ptr<const Event> ready = nullptr;  // device memory: input may be read after this event
  std::shared_ptr<void> keep_alive = nullptr;    // released when the Work is done; optional
};

}  // namespace hvd
