#include <horovod_cpp/torch.h>
#include <torch/torch.h>

#include <optional>

#include "horovod_cpp/base/text.h"
#include "tests/bench/contenders/torch_contenders.h"
#include "tests/bench/gradients.h"

namespace hvd::bench {
namespace {

// A parameter whose gradient is a given tensor.
struct GradientIs : torch::autograd::Function<GradientIs> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& parameter,
                               const torch::Tensor& gradient) {
    context->save_for_backward({gradient});
    return parameter.new_zeros({});
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list&) {
    return {context->get_saved_variables()[0], torch::Tensor()};
  }
};

std::span<float> span_of(const torch::Tensor& tensor) {
  return {tensor.data_ptr<float>(), static_cast<std::size_t>(tensor.numel())};
}

class Backward final : public Contender {
 public:
  Backward(const Workload& workload, Together together) : has_update_(workload.is_step()) {
    for (const auto& tensor : workload.tensors) {
      parameters_.push_back(torch::zeros(tensor.shape).requires_grad_());
      gradients_.push_back(torch::zeros(tensor.shape));
      named_.insert(tensor.name, parameters_.back());
    }
    if (has_update_) {
      optimizer_ = std::make_unique<torch::optim::AdamW>(parameters_, torch::optim::AdamWOptions(1e-3));
    } else {
      optimizer_ = std::make_unique<torch::optim::SGD>(parameters_, torch::optim::SGDOptions(0.0));
    }
    if (together == Together::hooks) distributed_.emplace(*optimizer_, named_);
    if (together == Together::sharded) sharded_.emplace(*optimizer_, named_);
  }

  std::string title() const override {
    const char* const what = has_update_ ? "a backward and AdamW's step" : "a whole backward";
    if (is_alone()) return text("the same without communication: ", what);
    return text("horovod_cpp ", distributed_ ? "DistributedOptimizer" : "ShardedOptimizer", ", ", what);
  }

  void fill(int repetition) override {
    if (!has_update_ && loss_.defined()) step();
    distributed_ ? distributed_->zero_grad() : sharded_ ? sharded_->zero_grad() : optimizer_->zero_grad();
    std::size_t first = 0;
    std::vector<torch::Tensor> pieces;
    for (std::size_t i = 0; i < gradients_.size(); ++i) {
      bench::fill(span_of(gradients_[i]), first, is_alone() ? 0 : hvd::rank(), repetition);
      first += span_of(gradients_[i]).size();
    }
    // What is computed last comes first in backward.
    for (std::size_t i = gradients_.size(); i-- > 0;)
      pieces.push_back(GradientIs::apply(parameters_[i], gradients_[i]));
    loss_ = torch::stack(pieces).sum();
  }

  Status run() override {
    try {
      loss_.backward();
      if (has_update_) step();
    } catch (const std::exception& failure) {
      return Status::aborted(failure.what());
    }
    return {};
  }

  Status verify(int repetition) override {
    const int ranks = is_alone() ? 1 : hvd::size();
    std::size_t first = 0;
    for (const auto& parameter : parameters_) {
      const auto gradient = parameter.grad().contiguous();
      HVD_RETURN_IF_ERROR(bench::verify(span_of(gradient), first, ranks, repetition, 1.0 / ranks));
      first += span_of(gradient).size();
    }
    return {};
  }

  std::optional<std::uint64_t> digest() const override {
    if (!has_update_ || is_alone()) return std::nullopt;
    std::uint64_t digest = 0;
    for (const auto& parameter : parameters_) digest = bench::digest(span_of(parameter), digest);
    return digest;
  }

  void give_back() override {
    for (const auto& gradient : gradients_) bench::give_back(span_of(gradient));
  }

 private:
  bool is_alone() const { return !distributed_ && !sharded_; }
  void step() {
    if (distributed_) {
      distributed_->step();
    } else if (sharded_) {
      sharded_->step();
    } else {
      optimizer_->step();
    }
  }

  bool has_update_;  // is timed
  std::vector<torch::Tensor> parameters_;
  std::vector<torch::Tensor> gradients_;
  hvd::NamedTensors named_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::optional<hvd::DistributedOptimizer> distributed_;
  std::optional<hvd::ShardedOptimizer> sharded_;
  torch::Tensor loss_;
};

}  // namespace

Result<std::unique_ptr<Contender>> make_backward(const Workload& workload, Together together) {
  if (together == Together::sharded && !workload.is_step())
    return Status::unimplemented("updates parameters");
  try {
    return std::unique_ptr<Contender>(std::make_unique<Backward>(workload, together));
  } catch (const std::exception& failure) {
    return Status::aborted(failure.what());
  }
}

}  // namespace hvd::bench
