// Submission: one execution of a declared operation.
#pragma once

#include <memory>

#include "horovod_cpp/ports/device.h"

namespace hvd {

// A declared operation: an index that is cheap to submit. Valid for the Session that gave it.
struct TensorId {
  std::int32_t index = -1;
};

// One execution of a declared operation. Memory is contiguous, not owned, and must stay valid until the Work is done.
struct Submission {
  TensorId id = {};
  const void* input = nullptr;
  void* output = nullptr;                        // may equal input
  std::shared_ptr<const Event> ready = nullptr;  // device memory: input may be read after this event
  std::shared_ptr<void> keep_alive = nullptr;    // released when the Work is done; optional
};

}  // namespace hvd
