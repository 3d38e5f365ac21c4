// The ad-hoc operations of interleavings.h: what goes in, what must come out.
#pragma once

#include <horovod_cpp/torch/collectives.h>

#include <memory>

#include "tests/torch/interleavings_plan.h"

namespace hvd {

// Submits it; never waits. One handle, or those of a group. `inputs` gets what it reads: kept until it has ended, because ThreadSanitizer does
// not see LibTorch count references.
Handles start(const AdHoc& what, const ProcessSet& set, const std::shared_ptr<Context>& context,
              std::vector<at::Tensor>& inputs);

// Waits, and compares with what every rank can compute by itself. Throws std::runtime_error that says what is wrong.
void wait_and_check(const AdHoc& what, const Handles& handles, int rank);

}  // namespace hvd
