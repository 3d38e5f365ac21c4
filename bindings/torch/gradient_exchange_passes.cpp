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
    buckets_->start_rest();
    buckets_->finish();
  } catch (...) {
    close_failed_round();
    settle_locked();
    throw;
  }
}

at::Tensor GradientExchange::dense_gradient(std::size_t index) const {
  const at::Tensor& value = gradients_[index].parameter.grad();
  return value.defined() && value.layout() == c10::kStrided ? value : at::Tensor();
}

void GradientExchange::take_over_buckets() {
  for (std::size_t i = 0; i < gradients_.size(); ++i) {
    if (!facts_.is_used_somewhere(i)) continue;
    at::Tensor& value = gradients_[i].parameter.mutable_grad();
    if (value.defined() && value.layout() != c10::kStrided) continue;
    // A storage with other users may be another parameter's gradient.
    if (value.defined() && value.storage().use_count() == 1) {
      value.detach().copy_(buckets_->result_of(i));
    } else {
      value = buckets_->result_of(i).clone();
    }
  }
}

}  // namespace hvd
