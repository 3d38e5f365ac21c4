// The optimizer's side of GradientExchange: where steps begin and end.
#include <ATen/core/grad_mode.h>

#include "bindings/torch/gradient_exchange.h"
#include "horovod_cpp/torch/collectives.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {

void GradientExchange::settle() {
  const std::lock_guard lock(mutex_);
  settle_locked();
}

void GradientExchange::run_empty_round() {
  const std::lock_guard lock(mutex_);
  const at::NoGradGuard no_grad;
  settle_locked();
  if (!is_idle()) close_round();
}

// An exception out of step() or zero_grad() is the end of that step.
void GradientExchange::begin_step() {
  step_is_dropped_ = false;
  rounds_at_step_ = rounds_;
  accumulation_.start_afresh();
  for (Gradient& gradient : gradients_) gradient.is_kept = false;
  if (open_backwards_.empty()) a_backward_died_ = false;
}

void GradientExchange::start_afresh() {
  const std::lock_guard lock(mutex_);
  has_sums_ = false;
  try {
    settle_locked();
  } catch (...) {
    begin_step();
    throw;
  }
  begin_step();
}

bool GradientExchange::finish_step() {
  if (is_idle()) return true;
  const std::lock_guard lock(mutex_);
  const at::NoGradGuard no_grad;
  try {
    settle_locked();
    throw_if_failed(context_->session().status());
    if (a_backward_died_) {
      close_failed_round();
      settle_locked();
    } else if (rounds_ == rounds_at_step_ || accumulation_.is_pending()) {
      close_round();
    }
  } catch (...) {
    begin_step();
    throw;
  }
  const bool is_taken = !step_is_dropped_;
  begin_step();
  return is_taken;
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
