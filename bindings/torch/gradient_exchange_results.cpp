// The end of a round of GradientExchange: how it came out, and what becomes of p.grad.
#include <ATen/ops/zeros.h>

#include "bindings/torch/device_order.h"
#include "bindings/torch/gradient_exchange.h"
#include "bindings/torch/sparse_rows.h"
#include "bindings/torch/tensor_facts.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {

GradientExchange::Outcome GradientExchange::outcome_of_round() const {
  Outcome outcome;
  outcome.status = facts_work_.wait();
  if (!outcome.status.is_ok()) return outcome;
  for (const Gradient& gradient : gradients_) {
    if (!gradient.work.is_valid()) continue;
    outcome.status = gradient.work.wait();
    if (!outcome.status.is_ok()) return outcome;
  }
  outcome.failed_backwards = facts_.failed_backwards();
  outcome.another_round_follows = facts_.another_round_follows();
  outcome.step_has_begun = facts_.step_has_begun();
  if (epoch_outcome_.state == EpochState::failed) outcome.status = arena_->epochs().failure();
  if (!outcome.status.is_ok()) return outcome;
  if (own_backward_failed_) return outcome;
  if (!facts_.all_in_same_round()) {
    outcome.status = Status::mismatch(
        text("rank ", context_->rank(), ": this was its backward number ", rounds_ - rounds_at_step_ + 1,
             " since the last step(), but other ranks are at another one, so steps are mixed up and "
             "parameters may differ. "
             "Take the same number of backwards a step on every rank, and restart from a checkpoint."));
  }
  return outcome;
}

void GradientExchange::take_over_result(Gradient& gradient) {
  const bool is_of_hook = buckets_ != nullptr;
  if (!is_of_hook && !gradient.work.is_valid()) return;
  if (!is_of_hook) let_current_stream_wait(gradient.work.completion(), gradient.memory.device());
  at::Tensor result = is_of_hook ? take_hook_result(gradient) : gradient.memory;
  if (!result.defined()) return;
  if (is_of_hook) {
    // It is a tensor of its own.
  } else if (gradient.form == Gradient::Form::in_place) {
    result = gradient.value;
  } else if (gradient.form == Gradient::Form::rows) {
    result = unpack_rows(gradient.memory, gradient.parameter);
  } else if (is_dense(gradient.value) && !gradient.is_shared) {
    gradient.value.detach().copy_(gradient.memory);
    result = gradient.value;
  }
  gradient.kept = gradient.kept.defined() ? add_gradient(gradient.kept, result) : result;
  gradient.is_reduced = true;
}

// p.grad is zeros, or undefined as it was: it must not depend on what this rank alone has produced, or optimizers would go on differently.
void GradientExchange::forget_values(Gradient& gradient) {
  gradient.spill.reset();
  gradient.is_reduced = false;
  if (!gradient.was_defined) return gradient.kept.reset();
  // What was there has become part of the value, or was replaced by it.
  if (!gradient.kept.defined() && !gradient.is_shared) gradient.kept = gradient.value;
  if (gradient.kept.defined()) {
    gradient.kept.detach().zero_();
  } else {
    gradient.kept = at::zeros(gradient.parameter.sizes(), gradient.parameter.options().requires_grad(false));
  }
}

void GradientExchange::take_over_results(bool is_good) {
  for (Gradient& gradient : gradients_) {
    if (!is_good) {
      forget_values(gradient);
    } else if (is_planned_round_) {
      take_over_slot(gradient);
    } else {
      take_over_result(gradient);
    }
    gradient.was_defined = gradient.kept.defined();
  }
}

bool GradientExchange::end_round() {
  const Outcome outcome = is_planned_round_ ? outcome_of_epoch() : outcome_of_round();
  const bool is_good = outcome.status.is_ok() && outcome.failed_backwards == 0;
  has_outcome_ = is_good && epoch_outcome_.state == EpochState::complete;
  if (epoch_outcome_.state == EpochState::failed) drop_arena();
  take_over_results(is_good);
  if (is_good) remember_norm(rounds_ == rounds_at_step_ && !outcome.another_round_follows);
  for (Gradient& gradient : gradients_) {
    gradient.is_produced = false;
    gradient.is_shared = false;
    gradient.has_local = false;
    gradient.value.reset();
    gradient.memory.reset();
    gradient.work = {};
  }
  if (buckets_) buckets_->end();
  groups_.start_afresh();
  facts_work_ = {};
  phase_ = Phase::open;
  // All ranks go by what some rank says, whatever they did after the drop: call step(), or not.
  if (!is_good) step_is_dropped_ = true;
  if (is_good && outcome.step_has_begun) step_is_dropped_ = false;
  const bool opens = is_good && !is_planned_round_ && !outcome.another_round_follows && wants_to_open();
  if (arena_) follow_epoch_outcome();
  epoch_outcome_ = {};
  epoch_is_closed_ = false;
  is_planned_round_ = false;
  needs_negotiation_ = false;
  has_added_ = false;
  if (opens) {
    start_opening();
    return false;
  }
  order_of_arrival_.clear();
  if (is_good && outcome.another_round_follows) return false;
  const bool own_backward_failed = own_backward_failed_;
  const std::exception_ptr hook_error = std::exchange(hook_error_, nullptr);
  finish_round();
  if (hook_error) std::rethrow_exception(hook_error);
  throw_if_failed(outcome.status);
  if (!is_good && !own_backward_failed) {
    throw StepDiscarded(Status::aborted(
        text("rank ", context_->rank(), ": backward threw on ", outcome.failed_backwards,
             " other rank(s), so this step is dropped on all ranks. The cause is in the output "
             "of that rank; training can go on with the next step.")));
  }
  return true;
}

void GradientExchange::finish_round() {
  phase_ = Phase::open;
  if (close_began_) overlap_.exposed += std::chrono::steady_clock::now() - *close_began_;
  close_began_.reset();
  in_backends_ = context_->session().time_in_backends();
  order_of_arrival_.clear();
  ++rounds_;
  // What follows a dropped round belongs to another step, whether the program calls step() now or not.
  if (step_is_dropped_) rounds_at_step_ = rounds_;
  closer_ = kNobody;
  accumulation_.start_afresh();
  a_local_backward_failed_ = false;
  own_backward_failed_ = false;
  if (deaths_to_close_ > 0) {
    --deaths_to_close_;
    close_failed_round();
  }
  if (open_backwards_.empty() && phase_ == Phase::open) give_gradients_back();
  round_ended_.notify_all();
}

}  // namespace hvd
