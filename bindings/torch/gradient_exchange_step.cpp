// The optimizer's side of GradientExchange: where steps begin and end.
#include <ATen/core/grad_mode.h>

#include "bindings/torch/gradient_exchange.h"
#include "bindings/torch/gradient_hook.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/torch/collectives.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {

void GradientExchange::settle() {
  Lock lock(mutex_);
  settle_locked(lock);
}

void GradientExchange::run_empty_round() {
  if (is_idle()) return;
  Lock lock(mutex_);
  const at::NoGradGuard no_grad;
  settle_locked(lock);
  close_round(lock);
}

// An exception out of step() or zero_grad() is the end of that step.
void GradientExchange::begin_step() {
  if (rounds_ != rounds_at_step_) last_overlap_ = std::exchange(overlap_, {});
  step_is_dropped_ = false;
  has_outcome_ = false;
  rounds_at_step_ = rounds_;
  accumulation_.start_afresh();
  a_local_backward_failed_ = false;
  if (is_idle()) return;
  for (std::size_t i = 0; i < gradients_.size(); ++i) {
    renew_gradient_hook(gradients_[i].parameter, weak_from_this(), i);
  }
}

void GradientExchange::start_afresh() {
  Lock lock(mutex_);
  try {
    settle_locked(lock);
  } catch (...) {
    begin_step();
    throw;
  }
  for (Gradient& gradient : gradients_) {
    gradient.is_reduced = false;
    gradient.has_local = false;
    if (open_backwards_.empty()) gradient.spill.reset();
  }
  begin_step();
}

bool GradientExchange::finish_step() {
  if (is_idle()) {
    context_->session().mark_step();
    return true;
  }
  Lock lock(mutex_);
  const at::NoGradGuard no_grad;
  if (!open_backwards_.empty()) {
    throw std::logic_error(text("rank ", context_->rank(),
                                ": step() of a DistributedOptimizer while a backward of its model runs: "
                                "call it when backward() has returned, in every thread"));
  }
  try {
    settle_locked(lock);
    // With an outcome of this step all survivors take it, whatever has failed since.
    if (!has_outcome_ || accumulation_.is_pending()) throw_if_failed(context_->session().status());
    if (a_local_backward_failed_) {
      keep_gradients();
      close_failed_round();
      settle_locked(lock);
    } else if ((rounds_ == rounds_at_step_ && !step_is_dropped_) || accumulation_.is_pending()) {
      close_round(lock);
    }
  } catch (...) {
    begin_step();
    throw;
  }
  const bool is_taken = !step_is_dropped_;
  if (is_taken) context_->session().mark_step();
  begin_step();
  return is_taken;
}

StepOverlap GradientExchange::last_overlap() const {
  const std::lock_guard lock(mutex_);
  return last_overlap_;
}

std::int64_t GradientExchange::rounds() const {
  const std::lock_guard lock(mutex_);
  return rounds_;
}

at::Tensor GradientExchange::average_loss(const at::Tensor& loss) {
  if (context_->size() == 1) return loss;
  return allreduce(loss, {.name = name_of_operation("loss"), .context = context_});
}

}  // namespace hvd
