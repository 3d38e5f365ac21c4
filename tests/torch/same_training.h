// One training loop, run by n ranks and by one process that does what all of them do; both must end with the same parameters.
//
//   expect_same_training<Towers>(n, [](Towers& model, const Side& side) {
//     Trainer trainer(side, sgd_of(model), model.named_parameters());
//     for (int step = 0; step < kSteps; ++step) {
//       trainer.zero_grad();
//       side.backward([&](int rank) { return loss of that rank in this step; });
//       trainer.step();
//     }
//   });
#pragma once

#include "tests/torch/models.h"

namespace hvd {

inline constexpr int kSteps = 6;

// A rank, or (without a context) the one process.
class Side {
 public:
  explicit Side(int n, ContextPointer context = nullptr, ReduceOp op = Average)
      : n_(n), context_(std::move(context)), op_(op) {}

  bool is_alone() const { return context_ == nullptr; }
  int size() const { return n_; }
  int rank() const { return context_->rank(); }
  const ContextPointer& context() const { return context_; }
  ReduceOp op() const { return op_; }

  torch::Tensor part(const torch::Tensor& all, int rank) const {
    const auto each = all.size(0) / n_;
    return all.slice(0, each * rank, each * (rank + 1));
  }
  // backward() of this rank's loss; alone: of the mean (op Sum: the sum) of all ranks' losses.
  void backward(const std::function<torch::Tensor(int)>& loss_of_rank) const {
    if (!is_alone()) {
      const auto loss = loss_of_rank(rank());
      if (loss.defined()) loss.backward();
      return;
    }
    torch::Tensor total;
    for (int rank = 0; rank < n_; ++rank) {
      const auto loss = loss_of_rank(rank);
      if (loss.defined()) total = total.defined() ? total + loss : loss;
    }
    if (total.defined()) (op_ == Sum ? total : total / n_).backward();
  }

 private:
  int n_;
  ContextPointer context_;
  ReduceOp op_;
};

// The optimizer of a side.
class Trainer {
 public:
  Trainer(const Side& side, std::unique_ptr<torch::optim::Optimizer> optimizer, const NamedTensors& named)
      : optimizer_(std::move(optimizer)) {
    if (side.is_alone()) return;
    distributed_ = std::make_unique<DistributedOptimizer>(
        *optimizer_, named, DistributedOptimizerOptions{.op = side.op(), .context = side.context()});
  }
  void zero_grad(bool set_to_none = true) {
    if (distributed_) return distributed_->zero_grad(set_to_none);
    optimizer_->zero_grad(set_to_none);
  }
  void step() {
    if (distributed_) {
      distributed_->step();
    } else {
      optimizer_->step();
    }
  }
  torch::optim::Optimizer& plain() { return *optimizer_; }
  DistributedOptimizer* distributed() { return distributed_.get(); }

 private:
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::unique_ptr<DistributedOptimizer> distributed_;
};

template <class Model>
void expect_same_training(int n, const std::function<void(Model&, const Side&)>& loop,
                          ReduceOp op = Average) {
  Model alone;
  loop(alone, Side(n, nullptr, op));
  std::vector<std::vector<torch::Tensor>> trained(static_cast<std::size_t>(n));
  on_ranks(n, [&](const ContextPointer& context) {
    Model model;
    loop(model, Side(n, context, op));
    trained[static_cast<std::size_t>(context->rank())] = model.parameters();
  });
  const auto names = alone.named_parameters().keys();
  const auto expected = alone.parameters();
  const auto start = Model().parameters();
  bool has_learned = false;
  for (const auto& parameters : trained) {
    ASSERT_EQ(parameters.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(torch::allclose(parameters[i], expected[i], 1e-11, 1e-12))
          << n << " ranks, " << names[i] << " differs from one process by "
          << (parameters[i] - expected[i]).abs().max().template item<double>();
      EXPECT_TRUE(torch::equal(parameters[i], trained[0][i])) << "ranks differ in " << names[i];
      has_learned = has_learned || !torch::allclose(parameters[i], start[i], 1e-3, 1e-3);
    }
  }
  EXPECT_TRUE(has_learned);
}

// One layer below two that a loss may use or not.
struct Towers : torch::nn::Module {
  Towers() {
    below = register_module("below", torch::nn::Linear(6, 8));
    left = register_module("left", torch::nn::Linear(8, 3));
    right = register_module("right", torch::nn::Linear(8, 3));
    to(torch::kFloat64);
    fill(*this);
  }
  torch::Tensor hidden(const torch::Tensor& inputs) { return torch::tanh(below(inputs)); }

  torch::nn::Linear below{nullptr};
  torch::nn::Linear left{nullptr};
  torch::nn::Linear right{nullptr};
};

inline std::unique_ptr<torch::optim::Optimizer> sgd_of(const std::vector<torch::Tensor>& parameters,
                                                       double momentum = 0.9) {
  return std::make_unique<torch::optim::SGD>(parameters, torch::optim::SGDOptions(0.1).momentum(momentum));
}

}  // namespace hvd
