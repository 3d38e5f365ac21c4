// Small models and data, the same on every call,
// for the tests of DistributedOptimizer. Includes torch/torch.h.
#pragma once

#include <horovod_cpp/torch.h>
#include <torch/torch.h>

#include <memory>
#include <numeric>

#include "tests/torch/on_ranks.h"

namespace hvd {

using ContextPointer = std::shared_ptr<Context>;

inline constexpr std::int64_t kBatch = 12;  // can be cut into 1, 2, 3 and 4 equal parts

// The same on every call.
inline torch::Tensor numbers(torch::IntArrayRef shape, double phase) {
  const auto count = std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
  return torch::sin(torch::arange(count, torch::kFloat64) * 1.7 + phase).view(shape);
}

inline void fill(torch::nn::Module& module) {
  const torch::NoGradGuard no_grad;
  double phase = 0;
  for (auto& parameter : module.parameters()) parameter.copy_(numbers(parameter.sizes(), phase += 1) * 0.5);
}

inline torch::nn::Sequential make_network() {
  torch::nn::Sequential network(torch::nn::Linear(6, 8), torch::nn::Tanh(), torch::nn::Linear(8, 3));
  network->to(torch::kFloat64);
  fill(*network);
  return network;
}

inline torch::Tensor part(const torch::Tensor& all, const Context& context) {
  const auto each = all.size(0) / context.size();
  return all.slice(0, each * context.rank(), each * (context.rank() + 1));
}

inline torch::Tensor loss_of(torch::nn::Sequential& network, const torch::Tensor& inputs,
                             const torch::Tensor& targets) {
  return torch::mse_loss(network->forward(inputs), targets);
}
inline torch::Tensor inputs_of(int step) { return numbers({kBatch, 6}, step); }
inline torch::Tensor targets_of(int step) { return numbers({kBatch, 3}, 100 + step); }

// A model made of two weights, of which a loss may use either or none.
struct TwoWeights : torch::nn::Module {
  TwoWeights() {
    a = register_parameter("a", numbers({3}, 0));
    b = register_parameter("b", numbers({2, 2}, 1));
  }
  torch::Tensor a;
  torch::Tensor b;
};

// Its backward throws where it is told to.
struct Fragile : torch::autograd::Function<Fragile> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& input,
                               bool breaks) {
    context->saved_data["breaks"] = breaks;
    return input.clone();
  }
  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               const torch::autograd::tensor_list& gradients) {
    if (context->saved_data["breaks"].toBool()) throw std::runtime_error("this layer is broken");
    return {gradients[0], torch::Tensor()};
  }
};

}  // namespace hvd
