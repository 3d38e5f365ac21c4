// Backend call: one batch of agreed operations as a call of a Collectives, with what stands in on a rank that has joined.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/coordinator/agreement.h"
#include "horovod_cpp/coordinator/submission.h"
#include "horovod_cpp/ports/collectives.h"

namespace hvd {

// One operation of the batch on this rank.
struct BackendOperand {
  const Agreement* agreement;
  const Submission* submission;  // nullptr: this rank has joined and contributes zeros, or no rows
};

struct BackendOutcome {
  Completion completion;
  std::vector<std::int64_t> result;  // as of Work
  // Failed: the ranks did the operation, but this one had nowhere to put the result.
  Status status;
};

// `operands` are alike (as the fusion planner has made sure), at least one. `position` of `members`: this rank within the process set. A failed
// Status: the world has failed.
Result<BackendOutcome> call_backend(Collectives& backend, std::span<const BackendOperand> operands,
                                    std::span<const int> members, int position);

}  // namespace hvd
