// Makes every rank's optimizer start from the same state.
//
//   if (hvd::rank() == 0) torch::load(optimizer, "checkpoint.pt");
//   hvd::broadcast_optimizer_state(optimizer);      // no rank takes a step for it
#pragma once

#include <torch/optim/optimizer.h>

#include "horovod_cpp/torch/collectives.h"

namespace hvd {

// Everybody's optimizer gets rank `root`'s state (momenta, step counts, …) and the options of its parameter groups (learning rates, …),
// also if it has no state yet, or more than root's. Of a DistributedOptimizer pass get(). Values of parameters are not touched:
// broadcast_parameters does that.
// Works for each optimizer of LibTorch, and for your own if it overrides save() and load(). Root's state crosses as one archive, so every
// rank needs its size in memory twice for a moment; tensors come to the device of the rank's own parameters.
// All ranks have the same kind of optimizer, over parameters of the same shapes and types in the same groups and order: MismatchError
// otherwise, on every rank, before anything has changed. If loading fails on any rank, every rank throws, and optimizers are unspecified.
// Collective; options.name, if given, comes before the names of its operations. Errors: errors.h.
void broadcast_optimizer_state(torch::optim::Optimizer& optimizer, int root = 0,
                               const BroadcastOptions& options = {});

}  // namespace hvd
