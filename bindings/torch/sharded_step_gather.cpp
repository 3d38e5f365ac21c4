// How the slices of an optimizer's state become a whole one again.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <map>
#include <stdexcept>
#include <utility>

#include "bindings/torch/sharded_step.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/process_sets.h"
#include "horovod_cpp/session.h"
#include "horovod_cpp/torch/collectives.h"

namespace hvd {
namespace {

using torch::optim::Optimizer;

// What state_facts() says of a parameter: whether any rank has state of it, the step, and bit k: it has tensor k.
constexpr std::int64_t kFacts = 3;

}  // namespace

at::Tensor ShardedStep::state_facts() {
  at::Tensor facts =
      at::zeros({static_cast<std::int64_t>(parameters_.size()) * kFacts}, c10::ScalarType::Long);
  auto* const numbers = facts.mutable_data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    const auto found = wrapped_.state().find(pieces_[i].unsafeGetTensorImpl());
    if (found == wrapped_.state().end()) continue;
    auto* const of = numbers + plan_.pieces[i].item * kFacts;
    of[0] = 1;
    if (const auto* const step = kind_.step(*found->second)) of[1] = *step;
    const auto tensors = kind_.tensors(*found->second);
    of[2] = 0;
    for (std::size_t k = 0; k < tensors.size(); ++k)
      of[2] |= tensors[k]->defined() ? std::int64_t{1} << k : 0;
  }
  allreduce_(facts, {.name = name_of_operation("facts of state"), .op = Max, .context = context_});
  return facts;
}

at::Tensor ShardedStep::flat_state(std::size_t pool, std::size_t tensor) {
  at::Tensor values = at::zeros_like(pools_[pool].values);
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    const ShardPiece& piece = plan_.pieces[i];
    const auto found = wrapped_.state().find(pieces_[i].unsafeGetTensorImpl());
    if (pool_of_[piece.item] != pool || found == wrapped_.state().end()) continue;
    const at::Tensor& own = *kind_.tensors(*found->second)[tensor];
    if (own.defined()) part(values, plan_.begin[piece.item] + piece.begin, piece.count).copy_(own);
  }
  publish({slice_for_all(pool, values)});
  return values;
}

std::unique_ptr<Optimizer> ShardedStep::gather(int root) {
  const at::NoGradGuard no_grad;
  const auto members = context_->session().process_set(context_->process_set());
  if (members && position_in(*members, root) < 0)
    throw std::invalid_argument(text(who(), "gather: root rank ", root, ": expected a rank that takes part"));
  const at::Tensor facts = state_facts();
  const auto* const numbers = facts.const_data_ptr<std::int64_t>();
  const auto fact = [&](std::size_t item, std::size_t which) { return numbers[item * kFacts + which]; };
  std::map<std::size_t, std::unique_ptr<torch::optim::OptimizerParamState>> states;
  std::vector<std::int64_t> tensors_of_pool(pools_.size(), 0);
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (fact(i, 0) == 0) continue;
    tensors_of_pool[pool_of_[i]] |= fact(i, 2);
    auto state = kind_.new_state();
    if (auto* const step = kind_.step(*state)) *step = fact(i, 1);
    states.emplace(i, std::move(state));
  }
  const bool is_root = context_->rank() == root;
  for (std::size_t pool = 0; pool < pools_.size(); ++pool) {
    for (std::size_t k = 0; tensors_of_pool[pool] >> k != 0; ++k) {
      if ((tensors_of_pool[pool] >> k & 1) == 0) continue;
      const at::Tensor values = flat_state(pool, k);
      for (auto& [i, state] : states) {
        if (!is_root || pool_of_[i] != pool || (fact(i, 2) >> k & 1) == 0) continue;
        const at::Tensor& parameter = parameters_[i].tensor;
        *kind_.tensors(*state)[k] = part(values, plan_.begin[i], static_cast<std::size_t>(parameter.numel()))
                                        .view(parameter.sizes())
                                        .clone();
      }
    }
  }
  if (!is_root) return nullptr;
  auto groups = groups_like(*this);
  for (std::size_t i = 0; i < groups.size(); ++i)
    groups[i].set_options(wrapped_.param_groups()[i].options().clone());
  auto whole = kind_.make(std::move(groups), wrapped_);
  for (auto& [i, state] : states)
    whole->state()[parameters_[i].tensor.unsafeGetTensorImpl()] = std::move(state);
  return whole;
}

void ShardedStep::save(torch::serialize::OutputArchive&) const {
  throw std::logic_error(text(who(), "save what gather() returns: this rank has a part of the state only"));
}

void ShardedStep::load(torch::serialize::InputArchive&) {
  throw std::logic_error(text(who(), "load the optimizer before a ShardedOptimizer is constructed over it"));
}

}  // namespace hvd
