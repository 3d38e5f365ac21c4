// Your own way to reduce gradients: a function that is called with a bucket of gradients and what it may communicate with.
//
//   hvd::PendingTensor as_float16(hvd::GradientBucket& bucket, hvd::BucketCollective& collective) {
//     const auto type = bucket.values.scalar_type();
//     auto reduced = collective.allreduce_(bucket.values.to(torch::kHalf));        // starts, does not wait
//     return hvd::PendingTensor(reduced).then([type](const torch::Tensor& sum) { return sum.to(type); });
//   }
//   hvd::DistributedOptimizer optimizer(sgd, model->named_parameters(), {.communication_hook = as_float16});
//
// compression.h has the real ones: start reading there.
//
// Buckets: gradients of one type and device are packed one after another, in reverse order of the parameters (the order in which backward
// completes them), as long as they fit into bucket_bytes; a larger gradient has a bucket of its own. A group of the option `groups` is
// a bucket. Buckets are the same on all ranks. A gradient that this rank did not produce is in it as p.grad is, or as zeros.
// Calls: the hook is called once a bucket and round, in the order of `index` on every rank, while backward still runs if the bucket is
// complete by then, otherwise at its end. It may wait for what it has started, at the cost of overlap. Gradients that no rank produced keep
// what they were, whatever the result says. On one rank it is not called.
// Errors: what a hook (or its then()) throws leaves backward() of this rank; the other ranks' throws StepDiscarded, and the step is dropped
// everywhere, as if backward had thrown. The operations that it had not started end with an error on the other ranks, so nobody waits.
// Threading: called on the thread that runs backward, never twice at once for one optimizer. It must not call that optimizer.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "horovod_cpp/torch/collectives.h"

namespace hvd {

struct GradientBucket {
  at::Tensor
      values;  // 1-d, contiguous; the hook may write it. Memory is used again for the next round: copy what you keep
  std::size_t index = 0;           // 0 for the bucket that backward completes first
  std::vector<std::string> names;  // of the parameters, in the order of their values
  bool is_last = false;            // of this round
};

// The result of a hook: a tensor that is there, or on its way. Same number of elements, type and device as the bucket's.
class PendingTensor {
 public:
  PendingTensor(at::Tensor ready);  // NOLINT(google-explicit-constructor): a hook may return a tensor …
  PendingTensor(Handle handle);     // NOLINT(google-explicit-constructor): … or what it has started
  // This, and `next` applied to it when it is there.
  PendingTensor then(std::function<at::Tensor(const at::Tensor&)> next) const;
  // Called once, at the end of backward, by the exchange.
  at::Tensor wait() const;

 private:
  explicit PendingTensor(std::function<at::Tensor()> wait);
  std::function<at::Tensor()> wait_;
};

// What a hook communicates with. Valid only inside the hook; the Handles are valid longer. All ranks start the same operations in the same
// order within a bucket, at most kMaxOperations.
class BucketCollective {
 public:
  static constexpr int kMaxOperations = 8;

  struct Options {
    ReduceOp op = Average;
    double prescale = 1.0;   // each rank's values are to be multiplied by this …
    double postscale = 1.0;  // … and the result by this
  };

  int rank() const;  // of the job, also in a process set, as the root of broadcast_ is …
  int size() const;  // … but this is how many train together: the members of the optimizer's process set
  // How the optimizer wants gradients to be reduced: op, gradient_predivide_factor, average_aggregated_gradients.
  const Options& options() const { return options_; }
  // Whether an operation on this device's memory leaves the host (on a GPU: the device).
  bool crosses_wire(c10::Device device) const;

  // In place, with the optimizer's options or with others.
  Handle allreduce_(const at::Tensor& tensor) { return allreduce_(tensor, options_); }
  Handle allreduce_(const at::Tensor& tensor, const Options& options);
  Handle broadcast_(const at::Tensor& tensor, int root);

 private:
  friend class BucketRound;
  BucketCollective(std::shared_ptr<Context> context, Options options, std::string name);
  std::string name_of_operation(int number) const;
  std::string next_name() const;
  Handle remember(Handle handle);

  std::shared_ptr<Context> context_;
  Options options_;
  std::string name_;
  std::vector<Handle> started_;  // of this round
};

using CommunicationHook = std::function<PendingTensor(GradientBucket&, BucketCollective&)>;

}  // namespace hvd
