#include "bindings/torch/gradient_clipping.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/stack.h>

#include <vector>

namespace hvd {
namespace {

// What a gradient has in memory, to be written too.
at::Tensor values_of(at::Tensor& gradient) {
  if (gradient.layout() == c10::kStrided) return gradient.detach();
  // Rows that come twice count as their sum.
  gradient = gradient.coalesce();
  return gradient._values();
}

}  // namespace

at::Tensor clip_by_global_norm(const torch::optim::Optimizer& optimizer, double max_norm,
                               std::optional<double> known_norm) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  std::vector<at::Tensor> norms;
  for (const auto& group : optimizer.param_groups()) {
    for (at::Tensor parameter : group.params()) {
      if (!parameter.grad().defined()) continue;
      gradients.push_back(values_of(parameter.mutable_grad()));
      if (known_norm) continue;
      const at::Tensor norm = gradients.back().norm(2);
      norms.push_back(norms.empty() ? norm : norm.to(norms.front().options()));
    }
  }
  if (gradients.empty()) return {};
  const at::Tensor norm = known_norm          ? at::scalar_tensor(*known_norm, c10::ScalarType::Double)
                          : norms.size() == 1 ? norms.front()
                                              : at::stack(norms).norm(2);
  const at::Tensor factor = (max_norm / (norm + 1e-6)).clamp_max(1.0);
  // Where looking costs nothing, gradients that are small enough are not touched.
  if (factor.device().is_cpu() && factor.item<double>() == 1.0) return norm;
  for (at::Tensor& gradient : gradients) gradient.mul_(factor.to(gradient.options()));
  return norm;
}

}  // namespace hvd
