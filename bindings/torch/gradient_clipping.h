// Clips gradients by their global norm.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/optim/optimizer.h>

#include <optional>

namespace hvd {

// The 2-norm of all gradients of the optimizer's parameters, seen as one vector: a 0-d tensor on the device of the first, undefined if
// there is none. If it is more than max_norm, gradients are multiplied by max_norm / (norm + 1e-6), as torch::nn::utils::clip_grad_norm_
// does. known_norm: that norm, where it is known already. Equal gradients give equal bits. On a GPU nothing waits.
at::Tensor clip_by_global_norm(const torch::optim::Optimizer& optimizer, double max_norm,
                               std::optional<double> known_norm = std::nullopt);

}  // namespace hvd
