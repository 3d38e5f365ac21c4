// GradientExchange: backwards that do not communicate, and what a communication hook does at the end of one that does.
#include "bindings/torch/gradient_exchange.h"

namespace hvd {

void GradientExchange::hold() {
  const std::lock_guard lock(mutex_);
  accumulation_.hold();
}

void GradientExchange::release() noexcept {
  const std::lock_guard lock(mutex_);
  accumulation_.release();
}

bool GradientExchange::end_local_pass() {
  if (!accumulation_.is_local()) return false;
  accumulation_.end_local_pass();
  return true;
}

void GradientExchange::produce_kept_gradients() {
  for (Gradient& gradient : gradients_) {
    if (gradient.is_kept && gradient.parameter.grad().defined()) gradient.is_produced = true;
  }
}

void GradientExchange::finish_buckets() {
  try {
    buckets_->finish();
  } catch (...) {
    close_failed_round();
    settle_locked();
    throw;
  }
}

}  // namespace hvd
