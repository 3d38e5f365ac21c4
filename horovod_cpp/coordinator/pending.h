// Pending operations of this rank: submitted, and not ended yet. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "horovod_cpp/coordinator/declaration.h"
#include "horovod_cpp/coordinator/submission.h"
#include "horovod_cpp/coordinator/work_state.h"

namespace hvd {

struct PendingOperation {
  std::shared_ptr<const Declaration> declaration;
  Submission submission;
  std::shared_ptr<WorkState> state;
  bool is_awaited = false;  // its caller does nothing but wait for it
};

using PendingOperations = std::unordered_map<std::uint32_t, PendingOperation>;  // by wire id

}  // namespace hvd
