#include "horovod_cpp/torch/sharded_optimizer.h"

#include <unordered_map>

#include "bindings/torch/sharded_step.h"
#include "horovod_cpp/torch/context.h"

namespace hvd {
namespace {

// In the order of the optimizer's groups. DistributedOptimizer has seen to it that each has a name.
std::vector<NamedParameter> named_in_order(const torch::optim::Optimizer& optimizer,
                                           const NamedTensors& named) {
  std::unordered_map<const c10::TensorImpl*, std::string> names;
  for (const auto& item : named) names.emplace(item.value().unsafeGetTensorImpl(), item.key());
  std::vector<NamedParameter> found;
  for (const auto& group : optimizer.param_groups()) {
    for (const at::Tensor& parameter : group.params())
      found.push_back({names.at(parameter.unsafeGetTensorImpl()), parameter});
  }
  return found;
}

}  // namespace

ShardedOptimizer::ShardedOptimizer(torch::optim::Optimizer& optimizer, const NamedTensors& named_parameters,
                                   const DistributedOptimizerOptions& options)
    : wrapped_(&optimizer) {
  DistributedOptimizerOptions complete = options;
  complete.context = Context::among(options.process_set.id(), options.context ? options.context : context());
  step_ = std::make_unique<ShardedStep>(optimizer, complete.context);
  distributed_ = std::make_unique<DistributedOptimizer>(*step_, named_parameters, complete);
  step_->take_over(named_in_order(*step_, named_parameters));
}

ShardedOptimizer::ShardedOptimizer(std::unique_ptr<torch::optim::Optimizer> optimizer,
                                   const NamedTensors& named_parameters,
                                   const DistributedOptimizerOptions& options)
    : ShardedOptimizer(*optimizer, named_parameters, options) {
  owned_ = std::move(optimizer);
}

ShardedOptimizer::~ShardedOptimizer() = default;

at::Tensor ShardedOptimizer::step(const LossClosure& closure) { return distributed_->step(closure); }
void ShardedOptimizer::zero_grad(bool set_to_none) { distributed_->zero_grad(set_to_none); }
void ShardedOptimizer::synchronize() { distributed_->synchronize(); }
NoSyncGuard ShardedOptimizer::no_sync() { return distributed_->no_sync(); }
double ShardedOptimizer::last_gradient_norm() const { return distributed_->last_gradient_norm(); }
std::unique_ptr<torch::optim::Optimizer> ShardedOptimizer::gather(int root) { return step_->gather(root); }

}  // namespace hvd
