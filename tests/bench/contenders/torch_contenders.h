// LibTorch as a contender: a backward whose gradients are given, and a whole training step; with DistributedOptimizer, ShardedOptimizer or alone.
//
// hvd::init() comes before. Errors: exceptions of LibTorch and the binding become a Status.
#pragma once

#include <string>

#include "tests/bench/contender.h"

namespace hvd::bench {

enum class Together { hooks, sharded, alone };  // alone: every rank for itself

// The backward of a model that has the workload's tensors as parameters, until p.grad is the average; of gpt2-adamw also the step. Its forward is
// not timed. unimplemented: sharded, where there is no step.
Result<std::unique_ptr<Contender>> make_backward(const Workload& workload, Together together);
// zero_grad, forward, backward, step. unimplemented: sharded.
Result<std::unique_ptr<Contender>> make_step(const Workload& workload, Together together);

}  // namespace hvd::bench
