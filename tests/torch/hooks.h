// Communication hooks that average, and a loop to try them in.
#pragma once

#include "tests/torch/models.h"

namespace hvd {

inline PendingTensor plain(GradientBucket& bucket, BucketCollective& collective) {
  return collective.allreduce_(bucket.values);
}
// Without overlap.
inline PendingTensor waiting(GradientBucket& bucket, BucketCollective& collective) {
  return collective.allreduce_(bucket.values).wait();
}

inline void train(const Context& context, torch::nn::Sequential& network, DistributedOptimizer& optimizer,
                  int steps) {
  for (int step = 0; step < steps; ++step) {
    optimizer.zero_grad();
    loss_of(network, part(inputs_of(step), context), part(targets_of(step), context)).backward();
    optimizer.step();
  }
}

}  // namespace hvd
