#include "horovod_cpp/torch/distributed_optimizer.h"

#include <unordered_map>
#include <unordered_set>

#include "bindings/torch/gradient_clipping.h"
#include "bindings/torch/gradient_exchange.h"
#include "bindings/torch/optimizer_options.h"
#include "bindings/torch/tensor_facts.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {
namespace {

// The optimizer's parameters that `exchange` (nullptr: nobody) does not have, in the order and with the names of the model,
// each once even if it has several names.
std::vector<NamedParameter> new_parameters_of(const torch::optim::Optimizer& optimizer,
                                              const NamedTensors& named, const GradientExchange* exchange,
                                              const std::string& who) {
  std::unordered_set<const c10::TensorImpl*> wanted;
  for (const auto& group : optimizer.param_groups()) {
    for (const at::Tensor& parameter : group.params()) {
      if (exchange == nullptr || !exchange->has(parameter)) wanted.insert(parameter.unsafeGetTensorImpl());
    }
  }
  const std::size_t expected = wanted.size();
  std::vector<NamedParameter> found;
  for (const auto& item : named) {
    if (wanted.erase(item.value().unsafeGetTensorImpl()) == 0) continue;
    throw_if_failed(check_tensor(item.value()).with_prefix(text(who, "parameter '", item.key(), "': ")));
    found.push_back({item.key(), item.value()});
  }
  if (wanted.empty()) return found;
  throw std::invalid_argument(
      text(who, wanted.size(), " of the optimizer's ", expected,
           " parameters are not in named_parameters, so their gradients would not be averaged; pass "
           "model->named_parameters() of the model whose parameters the optimizer has"));
}

// Each once.
std::unordered_set<const c10::TensorImpl*> parameters_of(const torch::optim::Optimizer& optimizer) {
  std::unordered_set<const c10::TensorImpl*> all;
  for (const auto& group : optimizer.param_groups()) {
    for (const at::Tensor& parameter : group.params()) all.insert(parameter.unsafeGetTensorImpl());
  }
  return all;
}

std::shared_ptr<GradientExchange> make_exchange(const torch::optim::Optimizer& optimizer,
                                                const NamedTensors& named,
                                                const DistributedOptimizerOptions& options) {
  DistributedOptimizerOptions complete = options;
  complete.context = Context::among(options.process_set.id(), options.context ? options.context : context());
  std::vector<NamedParameter> parameters = new_parameters_of(
      optimizer, named, nullptr, text("rank ", complete.context->rank(), ", DistributedOptimizer: "));
  ExchangeOptions for_exchange = exchange_options_of(complete, parameters);
  return GradientExchange::create(complete.context, std::move(parameters), std::move(for_exchange));
}

}  // namespace

DistributedOptimizer::DistributedOptimizer(torch::optim::Optimizer& optimizer,
                                           const NamedTensors& named_parameters,
                                           const DistributedOptimizerOptions& options)
    : optimizer_(&optimizer),
      exchange_(make_exchange(optimizer, named_parameters, options)),
      clip_norm_(options.clip_norm) {}

DistributedOptimizer::DistributedOptimizer(std::unique_ptr<torch::optim::Optimizer> optimizer,
                                           const NamedTensors& named_parameters,
                                           const DistributedOptimizerOptions& options)
    : owned_(std::move(optimizer)),
      optimizer_(owned_.get()),
      exchange_(make_exchange(*optimizer_, named_parameters, options)),
      clip_norm_(options.clip_norm) {}

DistributedOptimizer::~DistributedOptimizer() { exchange_->detach(); }

void DistributedOptimizer::add_parameters(const NamedTensors& named_parameters) {
  exchange_->add(
      new_parameters_of(*optimizer_, named_parameters, exchange_.get(), exchange_->name_of_caller()));
}

void DistributedOptimizer::check_parameters() const {
  std::size_t count = 0;
  for (const auto& group : optimizer_->param_groups()) count += group.params().size();
  if (count <= exchange_->parameter_count()) return;
  const auto different = parameters_of(*optimizer_);
  if (different.size() <= exchange_->parameter_count()) return;
  throw std::invalid_argument(
      text(exchange_->name_of_caller(), "the optimizer has ", different.size(),
           " parameters, but the gradients of only ", exchange_->parameter_count(),
           " are averaged: after add_param_group() call add_parameters(model->named_parameters()) of the "
           "DistributedOptimizer, on every rank"));
}

at::Tensor DistributedOptimizer::step(const LossClosure& closure) {
  check_parameters();
  if (closure) return step_with_closure(closure);
  if (!exchange_->finish_step()) return {};
  clip();
  return optimizer_->step();
}

at::Tensor DistributedOptimizer::step_with_closure(const LossClosure& closure) {
  exchange_->start_afresh();
  const auto averaged = [this, &closure] {
    const std::int64_t rounds_before = exchange_->rounds();
    const at::Tensor loss = closure();
    if (exchange_->rounds() == rounds_before) exchange_->run_empty_round();
    clip();
    return exchange_->average_loss(loss);
  };
  const at::Tensor loss = optimizer_->step(averaged);
  exchange_->start_afresh();
  return loss;
}

void DistributedOptimizer::zero_grad(bool set_to_none) {
  exchange_->start_afresh();
  optimizer_->zero_grad(set_to_none);
}

void DistributedOptimizer::synchronize() { exchange_->settle(); }

NoSyncGuard DistributedOptimizer::no_sync() { return NoSyncGuard(exchange_); }

void DistributedOptimizer::clip() {
  if (clip_norm_ == 0) return;
  // The exchange's parameters may be more than the optimizer's: a group was taken out.
  const bool are_the_same = parameters_of(*optimizer_).size() == exchange_->parameter_count();
  const auto known_norm = are_the_same ? exchange_->norm_of_step() : std::nullopt;
  last_norm_ = clip_by_global_norm(*optimizer_, clip_norm_, known_norm);
}

double DistributedOptimizer::last_gradient_norm() const {
  return last_norm_.defined() ? last_norm_.item<double>() : 0.0;
}

StepOverlap DistributedOptimizer::last_overlap() const { return exchange_->last_overlap(); }

NoSyncGuard::NoSyncGuard(std::shared_ptr<GradientExchange> exchange) : exchange_(std::move(exchange)) {
  exchange_->hold();
}

NoSyncGuard::NoSyncGuard(NoSyncGuard&& other) noexcept = default;

NoSyncGuard::~NoSyncGuard() {
  if (exchange_) exchange_->release();
}

}  // namespace hvd
