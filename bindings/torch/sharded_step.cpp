#include "bindings/torch/sharded_step.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <exception>
#include <map>
#include <stdexcept>
#include <utility>

#include "bindings/torch/model_agreement.h"
#include "bindings/torch/tensor_facts.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/process_sets.h"
#include "horovod_cpp/session.h"
#include "horovod_cpp/torch/collectives.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {
namespace {

using torch::optim::Optimizer;
using torch::optim::OptimizerParamGroup;

// 256 KiB of float32: an update reads and writes some six such pieces, which fit the second-level cache.
constexpr std::size_t kPieceElements = std::size_t{64} << 10U;

const ShardableKind& kind_of(const Optimizer& optimizer, const Context& context) {
  if (const auto* const kind = ShardableKind::of(optimizer)) return *kind;
  throw std::invalid_argument(text("rank ", context.rank(),
                                   ", ShardedOptimizer: expected torch::optim::SGD, Adam, AdamW or RMSprop, "
                                   "whose update of an element needs no other; "
                                   "got another optimizer. DistributedOptimizer takes any"));
}

at::Tensor flat(const at::Tensor& tensor) { return tensor.detach().reshape(-1); }

}  // namespace

ShardedStep::ShardedStep(Optimizer& wrapped, std::shared_ptr<Context> context)
    : Optimizer(groups_like(wrapped), wrapped.defaults().clone()),
      wrapped_(wrapped),
      kind_(kind_of(wrapped, *context)),
      context_(std::move(context)),
      number_(context_->take_optimizer_number()) {
  const auto members = context_->session().process_set(context_->process_set());
  const int position = members ? position_in(*members, context_->rank()) : -1;
  if (position < 0) throw std::invalid_argument(text(who(), "this rank is no member of the process set"));
  member_ = static_cast<std::size_t>(position);
  check_types();
}

void ShardedStep::check_types() const {
  for (const OptimizerParamGroup& group : param_groups_) {
    for (const at::Tensor& parameter : group.params()) {
      if (parameter.is_cpu() && parameter.is_floating_point()) continue;
      throw std::invalid_argument(text(who(), "a parameter of shape ", name_of(shape_of(parameter)),
                                       ": expected floating-point numbers on the CPU, got ",
                                       c10::toString(parameter.scalar_type()), " on ",
                                       parameter.device().str()));
    }
  }
}

std::vector<OptimizerParamGroup> ShardedStep::groups_like(Optimizer& optimizer) {
  std::vector<OptimizerParamGroup> groups;
  for (const OptimizerParamGroup& group : optimizer.param_groups())
    groups.emplace_back(group.params(), group.options().clone());
  return groups;
}

at::Tensor ShardedStep::part(const at::Tensor& flat_tensor, std::size_t begin, std::size_t count) {
  return flat_tensor.narrow(0, static_cast<std::int64_t>(begin), static_cast<std::int64_t>(count));
}

std::string ShardedStep::who() const { return text("rank ", context_->rank(), ", ShardedOptimizer: "); }

std::string ShardedStep::name_of_operation(const char* what) const {
  return text("sharded optimizer ", number_, ": ", what);
}

// --- taking over ---

void ShardedStep::take_over(const std::vector<NamedParameter>& named) {
  const at::NoGradGuard no_grad;
  parameters_ = named;
  check_agreement();
  lay_out();
  cut_state();
}

void ShardedStep::check_agreement() const {
  std::vector<std::string> lines{kind_.name()};
  std::size_t next = 0;
  for (const OptimizerParamGroup& group : param_groups_) {
    lines.emplace_back("group");
    for (std::size_t i = 0; i < group.params().size(); ++i, ++next) {
      const auto& [name, parameter] = parameters_[next];
      lines.push_back(
          text(name, ' ', c10::toString(parameter.scalar_type()), ' ', name_of(shape_of(parameter))));
    }
  }
  check_same_lines(lines,
                   {"ShardedOptimizer", "kind of optimizer, groups or parameters",
                    "Construct the same optimizer over the same model on every rank."},
                   name_of_operation("agreement"), context_);
}

void ShardedStep::lay_out() {
  std::map<c10::ScalarType, std::size_t> pool_of_type;
  std::vector<ShardItem> items;
  for (const NamedParameter& parameter : parameters_) {
    const auto type = parameter.tensor.scalar_type();
    const auto pool = pool_of_type.emplace(type, pool_of_type.size()).first->second;
    pool_of_.push_back(pool);
    items.push_back({static_cast<std::size_t>(parameter.tensor.numel()), pool});
  }
  plan_ = plan_shards(items, pool_of_type.size(), member_, static_cast<std::size_t>(context_->size()),
                      kPieceElements);
  pools_.resize(pool_of_type.size());
  for (const auto& [type, pool] : pool_of_type) {
    Declaration declaration;
    declaration.name = text(name_of_operation("slices of "), c10::toString(type));
    declaration.kind = OpKind::allgather;
    declaration.dtype = value_or_throw(data_type_of(type));
    declaration.process_set = context_->process_set();
    pools_[pool] = {at::zeros({static_cast<std::int64_t>(plan_.bounds[pool].back())}, type),
                    value_or_throw(context_->session().declare(declaration))};
  }
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    at::Tensor& parameter = parameters_[i].tensor;
    const at::Tensor place =
        part(pools_[pool_of_[i]].values, plan_.begin[i], items[i].count).view(parameter.sizes());
    place.copy_(parameter);
    parameter.set_data(place);
  }
  for (const ShardPiece& piece : plan_.pieces)
    pieces_.push_back(part(flat(parameters_[piece.item].tensor), piece.begin, piece.count));
}

void ShardedStep::cut_state() {
  auto old = std::move(wrapped_.state());
  wrapped_.state().clear();
  std::size_t next_piece = 0;
  std::size_t end = 0;
  for (OptimizerParamGroup& group : wrapped_.param_groups()) {
    end += group.params().size();
    group.params().clear();
    for (; next_piece < pieces_.size() && plan_.pieces[next_piece].item < end; ++next_piece) {
      const ShardPiece& piece = plan_.pieces[next_piece];
      group.params().push_back(pieces_[next_piece]);
      const auto found = old.find(parameters_[piece.item].tensor.unsafeGetTensorImpl());
      if (found == old.end()) continue;
      auto state = kind_.new_state();
      const auto whole = kind_.tensors(*found->second);
      const auto cut = kind_.tensors(*state);
      for (std::size_t k = 0; k < whole.size(); ++k) {
        if (whole[k]->defined()) *cut[k] = part(flat(*whole[k]), piece.begin, piece.count).clone();
      }
      if (auto* const step = kind_.step(*state)) *step = *kind_.step(*found->second);
      wrapped_.state()[pieces_[next_piece].unsafeGetTensorImpl()] = std::move(state);
    }
  }
}

// --- a step ---

at::Tensor ShardedStep::step(LossClosure closure) {
  at::Tensor loss;
  if (closure) {
    const at::AutoGradMode with_gradients(true);
    loss = closure();
  }
  const at::NoGradGuard no_grad;
  std::exception_ptr failure;
  try {
    check_places();
    lend_gradients();
    wrapped_.step();
  } catch (...) {
    failure = std::current_exception();
  }
  return_gradients();
  // Also if it failed here: the others wait for this rank's slice.
  std::vector<Submission> slices;
  for (std::size_t pool = 0; pool < pools_.size(); ++pool)
    slices.push_back(slice_for_all(pool, pools_[pool].values));
  publish(std::move(slices));
  if (failure) std::rethrow_exception(failure);
  return loss;
}

void ShardedStep::check_places() const {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto& [name, parameter] = parameters_[i];
    const at::Tensor& values = pools_[pool_of_[i]].values;
    const auto* const place =
        static_cast<const std::byte*>(values.const_data_ptr()) + plan_.begin[i] * values.element_size();
    if (parameter.numel() > 0 && parameter.const_data_ptr() != place) {
      throw std::logic_error(
          text(who(), "parameter '", name,
               "' has other memory than it was given (model.to() or set_data() since?): change the model "
               "first, and construct the ShardedOptimizer after it"));
    }
    const at::Tensor& gradient = parameter.grad();
    if (gradient.defined() && gradient.layout() != c10::kStrided) {
      throw std::invalid_argument(text(
          who(), "the gradient of parameter '", name,
          "' is sparse: expected a dense one. Use DistributedOptimizer, or an embedding that is not sparse"));
    }
  }
  std::size_t pieces = 0;
  for (const OptimizerParamGroup& group : wrapped_.param_groups()) pieces += group.params().size();
  if (pieces != pieces_.size()) {
    throw std::logic_error(
        text(who(),
             "the wrapped optimizer's groups have changed: gather() its state, add the group to what that "
             "returns, and construct a ShardedOptimizer over it"));
  }
}

void ShardedStep::lend_gradients() {
  at::Tensor gradient;
  std::size_t of = parameters_.size();
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    const ShardPiece& piece = plan_.pieces[i];
    if (piece.item != of) {
      of = piece.item;
      const at::Tensor& whole = parameters_[of].tensor.grad();
      gradient = whole.defined() ? flat(whole) : at::Tensor();
    }
    pieces_[i].mutable_grad() = gradient.defined() ? part(gradient, piece.begin, piece.count) : at::Tensor();
  }
}

void ShardedStep::return_gradients() {
  for (const at::Tensor& piece : pieces_) piece.mutable_grad().reset();
}

Submission ShardedStep::slice_for_all(std::size_t pool, const at::Tensor& values) const {
  const auto& bounds = plan_.bounds[pool];
  const std::size_t count = bounds[member_ + 1] - bounds[member_];
  Submission submission;
  submission.id = pools_[pool].id;
  submission.input = part(values, bounds[member_], count).const_data_ptr();
  submission.extents = {static_cast<std::int64_t>(count)};
  submission.allocate = [to = values.mutable_data_ptr()](std::span<const std::int64_t>) { return to; };
  submission.keep_alive = std::make_shared<at::Tensor>(values);
  return submission;
}

void ShardedStep::publish(std::vector<Submission> slices) const {
  if (context_->size() == 1) return;
  Status first;
  for (Work& work : context_->session().submit(std::move(slices))) {
    const Status status = work.wait();
    if (first.is_ok()) first = status;
  }
  throw_if_failed(first);
}

}  // namespace hvd
