// DistributedOptimizer: any torch::optim::Optimizer,
// with gradients averaged over all ranks while backward still runs.
//
//   torch::optim::SGD sgd(model->parameters(), torch::optim::SGDOptions(0.01 * hvd::size()));
//   hvd::DistributedOptimizer optimizer(sgd, model->named_parameters());
//   for (…) {
//     optimizer.zero_grad();
//     loss_of(model, batch).backward();      // afterwards p.grad is the average, on every rank the same bits
//     optimizer.step();
//   }
//
// How: a hook on each parameter submits the average of p.grad as soon as the gradient is complete; the end of backward waits for what
// is still on its way. So clipping and logging between backward() and step() see averages.
//
// On ranks of one host, once a step was regular (all gradients dense, of the parameter's type): gradients lie in memory that the ranks
// share and are reduced there by a plan, without negotiation (docs/protocol.md, "Epochs"). p.grad is then the same tensor in every step;
// who has kept it from an earlier step keeps its values (but not through a view, nor while another thread reads it). Large ones are even computed there: from the first DistributedOptimizer on, an allocator
// of ours stands in front of LibTorch's for the CPU (c10::SetCPUAllocator). HVD_STATIC_PLAN=0 switches it off; the bits are the same
// (but with clip_norm, whose norm is then added up in another order).
//
// Rules
// - All ranks construct their DistributedOptimizers in the same order, over parameters of the same names, shapes and types (checked
//   on construction, collectively), and take the same number of backwards a step. A rank that took one fewer is found at the next
//   backward: MismatchError on all.
// - A parameter that got no gradient in a backward on this rank contributes what is in p.grad and was not reduced yet, or zeros. One
//   that got none on any rank is left untouched, also undefined. So parameters may be unused, frozen and unfrozen, on one rank or all.
// - A further backward before step() (several losses, accumulation) accumulates, as on one process: each backward's gradients are reduced
//   alone and added to what p.grad has since zero_grad(). For Average and Sum. Use zero_grad() of this object, or, of the model: both work.
// - A gradient may come in several pieces within one backward (re-entrant checkpointing: a backward that calls backward()). An outermost
//   backward counts as one. Several threads may run backward at once: each counts, and p.grad is there when the last has returned.
// - While backward runs, p.grad is undefined. torch::autograd::grad() is left alone.
// - Several optimizers may share a backward, and ranks may reach their parameters in different orders. One whose parameters a rank's backward
//   does not reach at all takes part at its step(). So two ranks must not each reach only what the other does not: that stalls.
// - step() without a backward since the last step() takes part with zeros, so a rank without data may skip its backward. Never call it
//   while a backward runs.
// - If a backward throws, every rank drops the step: the other ranks' backward() throws StepDiscarded, and step() does nothing,
//   on all ranks, until a backward has succeeded or zero_grad() was called. Gradients are zeros then, or undefined if they were before that backward (on the rank
//   that threw: all undefined until the next call of this object). The others do not wait for the rank that threw to come back. Not covered: a throw before the first gradient of
//   the model was complete is invisible (the other ranks wait for this one's next backward, and report it as stalled); nor is one after
//   a backward inside another one has returned, until the outer one gets on.
// - Sparse gradients (embeddings): p.grad is sparse if the gradient was sparse on every rank that produced one, with the rows of all ranks;
//   dense otherwise. They are reduced as dense tensors of the whole table, at the end of backward: correct, but neither small nor fast.
// - register_hook() on a parameter in C++ throws away other hooks: call it before this object is constructed. Later it works too, but two
//   backwards must not follow without a step() or zero_grad() between them (refused).
// - Each parameter has one DistributedOptimizer. A post-accumulate-grad hook that was there before runs first, on the local
//   gradient; one that is set later replaces ours and ends the averaging of its parameter.
// - Only gradients are averaged. Buffers (batch norm's running statistics) stay each rank's own: before evaluating or saving,
//   hvd::allreduce_ those that float, or take one rank's (broadcast_parameters).
// - On one rank nothing is communicated.
// - Accumulation (backward_passes_per_step, no_sync()): a backward that does not communicate adds to p.grad on its rank and calls no
//   other rank. The next one that does reduces all that was added, also of parameters that it does not use itself. step() reduces what was
//   added since, so a rank that is short of data may take it after fewer backwards: gradients are averages then, too, with what there is.
//   If a backward that does not communicate throws, the step is dropped as above, when gradients are reduced next.
// - Not yet here: Adasum.
//
// Errors: errors.h.
// Ownership: the wrapped optimizer is referred to, and must live as long as this object is used (not: until it is destroyed), or
// owned. Parameters are kept alive; model and optimizer may be destroyed in any order. Destruction removes the hooks, never waits.
// Threading: one thread at a time, but backward may run on several threads at once.
#pragma once

#include <torch/optim/optimizer.h>

#include <memory>
#include <vector>

#include "horovod_cpp/torch/collectives.h"
#include "horovod_cpp/torch/communication_hook.h"
#include "horovod_cpp/torch/compression.h"
#include "horovod_cpp/torch/parameters.h"
#include "horovod_cpp/torch/step_overlap.h"

namespace hvd {

class GradientExchange;

// The same on every rank; checked on construction. A value that makes no sense is std::invalid_argument.
struct DistributedOptimizerOptions {
  ReduceOp op = Average;  // or Sum
  ProcessSet process_set =
      {};  // who trains together; its members construct the optimizer. Default: all ranks
  std::shared_ptr<Context> context = nullptr;  // nullptr: the process's own, of hvd::init()

  // Gradients are reduced in each k-th backward since the last step(); those before only add to p.grad. The result is the sum of the k
  // passes, averaged over ranks …
  int backward_passes_per_step = 1;
  // … and divided by k, also if a step had fewer passes.
  bool average_aggregated_gradients = false;

  // f > 0, Average only: gradients are multiplied by 1/f before the sum over n ranks and by f/n after it. It matters where sums are
  // rounded to 16 bits on their way and could overflow.
  double gradient_predivide_factor = 1.0;

  // 16 bits for each element where gradients cross a wire, nothing inside a host: compression.h.
  Compression compression = Compression::none;
  // How gradients are reduced, instead of an all-reduce of each: communication_hook.h. Ranks must have the same, only its presence is
  // checked. Not with compression.
  CommunicationHook communication_hook = nullptr;
  std::size_t bucket_bytes = std::size_t{25}
                             << 20U;  // of a bucket for hook or compression; one gradient may be larger

  // Gradients that are submitted together, as soon as the last of them is complete: lists of the optimizer's parameters, those in no list
  // go alone …
  std::vector<std::vector<at::Tensor>> groups = {};
  // … or this many lists of equal length, of parameters in reverse order. 0: every gradient goes alone. Not with groups.
  int num_groups = 0;

  // step() multiplies all gradients by one factor, so that their global 2-norm, after averaging, is at most this. 0: off.
  // Infinity: only last_gradient_norm(). The same bits on every rank, and the result of torch::nn::utils::clip_grad_norm_ after backward.
  double clip_norm = 0.0;
};

// While it lives, backwards of its DistributedOptimizer only add to p.grad. May nest; may outlive the optimizer.
class [[nodiscard]] NoSyncGuard {
 public:
  NoSyncGuard(NoSyncGuard&& other) noexcept;
  NoSyncGuard& operator=(NoSyncGuard&&) = delete;
  ~NoSyncGuard();

 private:
  friend class DistributedOptimizer;
  explicit NoSyncGuard(std::shared_ptr<GradientExchange> exchange);
  std::shared_ptr<GradientExchange> exchange_;
};

class DistributedOptimizer {
 public:
  using LossClosure = torch::optim::Optimizer::LossClosure;

  // named_parameters must contain every parameter of the optimizer; those that the optimizer does not have
  // are ignored. Collective. Throws std::invalid_argument, or MismatchError if ranks differ.
  DistributedOptimizer(torch::optim::Optimizer& optimizer, const NamedTensors& named_parameters,
                       const DistributedOptimizerOptions& options = {});
  // The same, and owns the optimizer.
  DistributedOptimizer(std::unique_ptr<torch::optim::Optimizer> optimizer,
                       const NamedTensors& named_parameters, const DistributedOptimizerOptions& options = {});
  ~DistributedOptimizer();
  DistributedOptimizer(const DistributedOptimizer&) = delete;
  DistributedOptimizer& operator=(const DistributedOptimizer&) = delete;

  // Takes up those parameters that the optimizer got by add_param_group() since, and that named_parameters contains; step() refuses to go on
  // without. Collective, between a step() and the next backward. Throws like the constructor.
  void add_parameters(const NamedTensors& named_parameters);

  // The wrapped optimizer's step. With a closure (LBFGS) each call of it
  // runs one averaged backward, and the loss it returns is averaged too, so
  // that all ranks decide alike. A dropped step returns an undefined tensor.
  at::Tensor step(const LossClosure& closure = nullptr);
  void zero_grad(bool set_to_none = true);
  // Waits for gradients that are still on their way. After backward() there are none.
  void synchronize();
  //   for (…) { auto guard = optimizer.no_sync(); loss(…).backward(); }    // adds up, without communication
  //   loss(…).backward();                                                  // reduces all of it
  NoSyncGuard no_sync();
  // The global 2-norm of the gradients before they were clipped, in the last step(); 0 before the first, or without clip_norm.
  // On a GPU this waits for it.
  double last_gradient_norm() const;
  // Of the backwards of the last step(). Operations that the program makes itself meanwhile count as hidden, unless ranks share an arena.
  StepOverlap last_overlap() const;

  // The wrapped optimizer: for learning rates and their schedulers, torch::save(), broadcast_optimizer_state().
  torch::optim::Optimizer& get() { return *optimizer_; }
  torch::optim::Optimizer* operator->() { return optimizer_; }

 private:
  void check_parameters() const;
  at::Tensor step_with_closure(const LossClosure& closure);
  void clip();

  std::unique_ptr<torch::optim::Optimizer> owned_;
  torch::optim::Optimizer* optimizer_;
  std::shared_ptr<GradientExchange> exchange_;
  double clip_norm_;
  at::Tensor last_norm_;
};

}  // namespace hvd
