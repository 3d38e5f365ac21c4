// ShardedOptimizer: DistributedOptimizer whose state is divided among the ranks (ZeRO, stage 1): each rank keeps and updates one slice.
//
//   torch::optim::AdamW adamw(model->parameters(), torch::optim::AdamWOptions(1e-3));
//   hvd::ShardedOptimizer optimizer(adamw, model->named_parameters());
//   for (…) {
//     optimizer.zero_grad();
//     loss_of(model, batch).backward();
//     optimizer.step();
//   }
//   if (const auto whole = optimizer.gather()) torch::save(*whole, "adamw.pt");     // on every rank; whole on rank 0
//
// Gradients are averaged as DistributedOptimizer does, with its options and rules. Then each rank updates 1/N of all elements, a piece at a time so
// that it stays in the cache, and the ranks give each other what they have updated. Parameters become the same bits as with DistributedOptimizer.
//
// Memory in bytes for a float32 parameter on N ranks: 4 for the parameter, 4 for the gradient, and state (SGD with momentum 4, Adam and AdamW 8,
// with amsgrad 12) / N.
//
// Rules beyond those of DistributedOptimizer
// - The wrapped optimizer is torch::optim::SGD, Adam, AdamW or RMSprop itself. If it has state (loaded from a checkpoint, on every rank), that is cut.
//   From now on its groups hold pieces of this rank's slice, and its state theirs: change its options (learning rates), nothing else. Do not call its
//   step() or zero_grad(), do not save it or broadcast its state; gather() makes a whole one.
// - Parameters are floating-point numbers on the CPU. They are moved into memory of this object's, which lives as long as any of them: whatever replaces
//   their memory (model.to()) comes before construction. Their values are to be the same on all ranks at first (broadcast_parameters).
// - No sparse gradients, no add_param_group().
// - What step() throws on one rank leaves the parameters as all ranks have them, updated or not by slices: go back to a checkpoint.
// - run_elastic() and State do not know slices: commit what gather() returns, and construct a new ShardedOptimizer over it after a loss.
//
// Errors, threading: as DistributedOptimizer. Ownership: the wrapped optimizer is referred to, and must live as long as this object, or owned.
#pragma once

#include <torch/optim/optimizer.h>

#include <memory>

#include "horovod_cpp/torch/distributed_optimizer.h"

namespace hvd {

class ShardedStep;

class ShardedOptimizer {
 public:
  using LossClosure = torch::optim::Optimizer::LossClosure;

  // As those of DistributedOptimizer. Collective.
  ShardedOptimizer(torch::optim::Optimizer& optimizer, const NamedTensors& named_parameters,
                   const DistributedOptimizerOptions& options = {});
  ShardedOptimizer(std::unique_ptr<torch::optim::Optimizer> optimizer, const NamedTensors& named_parameters,
                   const DistributedOptimizerOptions& options = {});
  ~ShardedOptimizer();
  ShardedOptimizer(const ShardedOptimizer&) = delete;
  ShardedOptimizer& operator=(const ShardedOptimizer&) = delete;

  // Collective: waits until every rank has updated its slice.
  at::Tensor step(const LossClosure& closure = nullptr);
  void zero_grad(bool set_to_none = true);
  void synchronize();
  NoSyncGuard no_sync();
  double last_gradient_norm() const;

  // Collective: an optimizer of the wrapped one's kind and options over the model's parameters, with all ranks' state: to be saved, or wrapped anew.
  // On rank `root` of the job; nullptr on the others. For a moment every rank needs memory for one element of state a parameter's.
  std::unique_ptr<torch::optim::Optimizer> gather(int root = 0);

  // The wrapped optimizer, for its options.
  torch::optim::Optimizer& get() { return *wrapped_; }
  torch::optim::Optimizer* operator->() { return wrapped_; }

 private:
  std::unique_ptr<torch::optim::Optimizer> owned_;
  torch::optim::Optimizer* wrapped_;
  std::unique_ptr<ShardedStep> step_;
  std::unique_ptr<DistributedOptimizer> distributed_;
};

}  // namespace hvd
