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
  Backward(const Workload& workload, Together together) : together_(together) {
    for (const auto& tensor : workload.tensors) {
      parameters_.push_back(torch::zeros(tensor.shape).requires_grad_());
      gradients_.push_back(torch::zeros(tensor.shape));
      named_.insert(tensor.name, parameters_.back());
    }
    sgd_.emplace(parameters_, torch::optim::SGDOptions(0.0));
    if (together == Together::hooks) distributed_.emplace(*sgd_, named_);
  }

  std::string title() const override {
    return distributed_ ? "horovod_cpp DistributedOptimizer, a whole backward"
                        : "the same backward, no communication";
  }

  void fill(int repetition) override {
    if (distributed_) {
      if (loss_.defined()) distributed_->step();
      distributed_->zero_grad();
    } else {
      sgd_->zero_grad();
    }
    std::size_t first = 0;
    std::vector<torch::Tensor> pieces;
    for (std::size_t i = 0; i < gradients_.size(); ++i) {
      bench::fill(span_of(gradients_[i]), first, distributed_ ? hvd::rank() : 0, repetition);
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
    } catch (const std::exception& failure) {
      return Status::aborted(failure.what());
    }
    return {};
  }

  Status verify(int repetition) override {
    const int ranks = distributed_ ? hvd::size() : 1;
    std::size_t first = 0;
    for (const auto& parameter : parameters_) {
      const auto gradient = parameter.grad().contiguous();
      HVD_RETURN_IF_ERROR(bench::verify(span_of(gradient), first, ranks, repetition, 1.0 / ranks));
      first += span_of(gradient).size();
    }
    return {};
  }

  void give_back() override {
    for (const auto& gradient : gradients_) bench::give_back(span_of(gradient));
  }

 private:
  Together together_;
  std::vector<torch::Tensor> parameters_;
  std::vector<torch::Tensor> gradients_;
  hvd::NamedTensors named_;
  std::optional<torch::optim::SGD> sgd_;
  std::optional<hvd::DistributedOptimizer> distributed_;
  torch::Tensor loss_;
};

}  // namespace

Result<std::unique_ptr<Contender>> make_backward(const Workload& workload, Together together) {
  try {
    return std::unique_ptr<Contender>(std::make_unique<Backward>(workload, together));
  } catch (const std::exception& failure) {
    return Status::aborted(failure.what());
  }
}

}  // namespace hvd::bench
