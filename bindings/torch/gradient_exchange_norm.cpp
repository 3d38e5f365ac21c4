// The norm of the gradients of a step of GradientExchange, in the steady state: it comes with the reduction.
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "bindings/torch/gradient_exchange.h"
#include "bindings/torch/tensor_facts.h"

namespace hvd {
namespace {

constexpr std::int64_t kProbes = 8;

// A few elements, to notice what the version does not tell: p.grad().data() counts its own.
std::string probes_of(const at::Tensor& gradient) {
  std::string bytes;
  const std::int64_t count = gradient.numel();
  const std::size_t element = gradient.element_size();
  const auto* const data = static_cast<const char*>(gradient.const_data_ptr());
  for (std::int64_t probe = 0; probe < kProbes && count > 0; ++probe) {
    bytes.append(data + static_cast<std::size_t>((count - 1) * probe / (kProbes - 1)) * element, element);
  }
  return bytes;
}

}  // namespace

// The squares that came with the reduction are those of p.grad if nothing was added before or is changed after.
void GradientExchange::remember_norm(bool is_whole_step) {
  norm_ = {};
  if (!options_.wants_norm || !is_planned_round_ || !is_whole_step || has_added_) return;
  for (std::size_t i = 0; i < gradients_.size(); ++i) {
    const at::Tensor& kept = gradients_[i].kept;
    const bool is_used = arena_->rounds().is_used_somewhere(i);
    if (is_used ? !arena_->is_slot(i, kept) : kept.defined()) return;
    norm_.gradients.push_back(is_used ? KnownNorm::Seen{kept._version(), probes_of(kept)}
                                      : KnownNorm::Seen{});
  }
  norm_.squares = arena_->epochs().sum_of_squares();
}

bool GradientExchange::is_unchanged(std::size_t index, const at::Tensor& grad) const {
  const KnownNorm::Seen& seen = norm_.gradients[index];
  if (!grad.defined() || seen.version < 0) return !grad.defined() && seen.version < 0;
  return arena_->is_slot(index, grad) && grad._version() == seen.version && probes_of(grad) == seen.probes;
}

bool GradientExchange::put_into_slot(std::size_t index, const at::Tensor& grad) {
  if (arena_->is_slot(index, grad)) return true;
  arena_->prepare_write(index, {});
  at::Tensor slot = arena_->slot(index);
  if (!grad.defined()) {
    slot.zero_();
  } else if (is_dense_like(grad, slot)) {
    slot.copy_(grad.detach());
  } else {
    return false;
  }
  return true;
}

// In the order of the reduction, whoever adds: ranks with the same gradients get the same bits.
std::optional<double> GradientExchange::norm_of_step() {
  const std::lock_guard lock(mutex_);
  const at::NoGradGuard no_grad;
  if (!options_.wants_norm || !has_plan()) return std::nullopt;
  bool is_known = norm_.squares.has_value();
  for (std::size_t i = 0; i < gradients_.size() && is_known; ++i) {
    is_known = is_unchanged(i, gradients_[i].parameter.grad());
  }
  for (std::size_t i = 0; i < gradients_.size() && !is_known; ++i) {
    if (!put_into_slot(i, gradients_[i].parameter.grad())) return std::nullopt;
  }
  return std::sqrt(is_known ? *norm_.squares : arena_->epochs().sum_of_own_squares());
}

}  // namespace hvd
