// GradientExchange: local backwards, and the part of a close that a communication hook has.
#include <algorithm>

#include "bindings/torch/gradient_exchange.h"
#include "bindings/torch/slot_lender.h"
#include "bindings/torch/sparse_rows.h"
#include "bindings/torch/tensor_facts.h"

namespace hvd {

// --- local backwards ---

void GradientExchange::hold() {
  const std::lock_guard lock(mutex_);
  accumulation_.hold();
}

void GradientExchange::release() noexcept {
  const std::lock_guard lock(mutex_);
  accumulation_.release();
}

bool GradientExchange::is_local(int graph_task) const {
  return std::any_of(open_backwards_.begin(), open_backwards_.end(), [graph_task](const OpenBackward& open) {
    return open.graph_task == graph_task && open.is_local;
  });
}

// Never mixed with what is reduced, or on its way: ranks would no longer hold the same sum.
void GradientExchange::keep_piece(Gradient& gradient, const at::Tensor& piece, bool is_shared) {
  gradient.has_local = true;
  const bool goes_apart = gradient.is_reduced || gradient.is_produced || phase_ != Phase::open;
  at::Tensor& sum = goes_apart ? gradient.spill : gradient.kept;
  if (sum.defined()) {
    sum = add_gradient(sum, piece);
  } else {
    sum = is_shared ? contiguous_copy(piece.detach()) : piece;
  }
}

void GradientExchange::end_local_backward(int graph_task, bool has_failed) {
  a_local_backward_failed_ = a_local_backward_failed_ || has_failed;
  std::erase_if(open_backwards_,
                [graph_task](const OpenBackward& open) { return open.graph_task == graph_task; });
  if (open_backwards_.empty() && closer_ == kNobody && phase_ == Phase::open) give_gradients_back();
}

// --- communication hooks ---

void GradientExchange::rebuild_plans() {
  groups_ = GradientGroups(gradients_.size(), options_.groups);
  may_plan_ = can_have_plan();
  // While nobody trains yet: LibTorch's allocator is a global variable.
  if (may_plan_) install_lending_allocator();
  if (!options_.hook || context_->size() == 1) return;
  std::vector<NamedParameter> parameters;
  for (const Gradient& gradient : gradients_) parameters.push_back({gradient.name, gradient.parameter});
  buckets_ = std::make_unique<BucketRound>(
      BucketRound::Parts{context_, options_.hook, options_.reduction, std::move(parameters),
                         [this](std::size_t i) { return value_for_hook(i); }, options_.groups,
                         options_.bucket_bytes, name_of_operation("")});
}

at::Tensor GradientExchange::value_for_hook(std::size_t index) const {
  const Gradient& gradient = gradients_[index];
  at::Tensor value = gradient.value;
  if (!value.defined() && !gradient.is_reduced) value = gradient.kept;
  if (!value.defined()) return value;
  return value.layout() == c10::kStrided ? value.detach() : value.detach().to_dense();
}

void GradientExchange::call_hooks() {
  try {
    produce_leftovers();
    buckets_->start_rest();
    phase_ = Phase::hooks_called;
  } catch (...) {
    fail_hook();
  }
}

void GradientExchange::finish_hooks(Lock& lock, Deadline deadline) {
  lock.unlock();
  const bool are_done = buckets_->wait_until(deadline);
  lock.lock();
  if (!are_done) return;
  try {
    buckets_->finish();
  } catch (...) {
    return fail_hook();
  }
  send_facts();
}

// Inside a catch clause. It is thrown again when the round has ended everywhere.
void GradientExchange::fail_hook() {
  hook_error_ = std::current_exception();
  close_failed_round();
}

// Undefined if no rank has produced this gradient.
at::Tensor GradientExchange::take_hook_result(Gradient& gradient) {
  const auto index = static_cast<std::size_t>(&gradient - gradients_.data());
  if (!facts_.is_used_somewhere(index)) return {};
  // What this rank had without a backward of this round is in the result.
  if (!gradient.value.defined() && !gradient.is_reduced) gradient.kept.reset();
  const at::Tensor result = buckets_->result_of(index);
  const bool has_place =
      gradient.value.defined() && gradient.value.layout() == c10::kStrided && !gradient.is_shared;
  if (!has_place) return result.clone();
  gradient.value.detach().copy_(result);
  return gradient.value;
}

}  // namespace hvd
