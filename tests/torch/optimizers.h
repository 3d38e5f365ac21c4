// The optimizers of LibTorch by name, and comparisons of parameters.
#pragma once

#include <string>
#include <vector>

#include "tests/torch/models.h"

namespace hvd {

using Tensors = std::vector<torch::Tensor>;

inline std::unique_ptr<torch::optim::Optimizer> make_optimizer(const std::string& kind,
                                                               const Tensors& parameters) {
  // NOLINTNEXTLINE(google-build-using-namespace): six of its names, in this function only
  using namespace torch::optim;
  if (kind == "Adam") return std::make_unique<Adam>(parameters, AdamOptions(0.01));
  if (kind == "AdamW") return std::make_unique<AdamW>(parameters, AdamWOptions(0.01).weight_decay(0.1));
  if (kind == "Adagrad") return std::make_unique<Adagrad>(parameters, AdagradOptions(0.05).lr_decay(0.01));
  if (kind == "RMSprop") {
    return std::make_unique<RMSprop>(parameters, RMSpropOptions(0.01).momentum(0.5).centered(true));
  }
  if (kind == "LBFGS") {
    return std::make_unique<LBFGS>(parameters, LBFGSOptions(0.5).max_iter(4).line_search_fn("strong_wolfe"));
  }
  return std::make_unique<SGD>(parameters, SGDOptions(0.1).momentum(0.9));
}

inline bool needs_closure(const torch::optim::Optimizer& optimizer) {
  return dynamic_cast<const torch::optim::LBFGS*>(&optimizer) != nullptr;
}

inline void set_learning_rate(torch::optim::Optimizer& optimizer, double rate) {
  for (auto& group : optimizer.param_groups()) group.options().set_lr(rate);
}

inline Tensors copies_of(const Tensors& tensors) {
  Tensors out;
  for (const auto& tensor : tensors) out.push_back(tensor.detach().clone());
  return out;
}

inline void set(const Tensors& parameters, const Tensors& values) {
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].copy_(values[i]);
}

inline Tensors gradients_of(const Tensors& parameters) {
  Tensors out;
  for (const auto& parameter : parameters) out.push_back(parameter.grad());
  return out;
}

// Also of undefined tensors.
inline void expect_close(const Tensors& got, const Tensors& expected, double tolerance,
                         const std::string& where = {}) {
  ASSERT_EQ(got.size(), expected.size()) << where;
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i].defined(), expected[i].defined()) << where << " tensor " << i;
    if (!got[i].defined()) continue;
    EXPECT_TRUE(torch::allclose(got[i], expected[i], tolerance, tolerance))
        << where << " tensor " << i << ": " << (got[i] - expected[i]).abs().max().item<double>();
  }
}

inline void expect_same_bits(const Tensors& got, const Tensors& expected, const std::string& where = {}) {
  ASSERT_EQ(got.size(), expected.size()) << where;
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_TRUE(torch::equal(got[i], expected[i])) << where << " tensor " << i;
}

// What it throws, or "" and a failure if it does not.
template <class Error, class Body>
std::string message_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

}  // namespace hvd
