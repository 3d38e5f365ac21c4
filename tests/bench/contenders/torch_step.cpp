#include <horovod_cpp/torch.h>
#include <torch/torch.h>

#include <cmath>
#include <optional>

#include "horovod_cpp/base/text.h"
#include "tests/bench/contenders/torch_contenders.h"
#include "tests/bench/contenders/torch_models.h"
#include "tests/bench/gradients.h"

namespace hvd::bench {
namespace {

class Step final : public Contender {
 public:
  Step(const Workload& workload, Together together)
      : name_(workload.name),
        model_(workload.name),
        reference_(workload.name),
        sgd_(model_.module().parameters(), torch::optim::SGDOptions(0.01)) {
    std::size_t elements = 0;
    for (const auto& parameter : model_.module().parameters())
      elements += static_cast<std::size_t>(parameter.numel());
    TORCH_CHECK(elements == workload.element_count(), "the model has ", elements, " parameters");
    if (together == Together::hooks)
      distributed_.emplace(sgd_, hvd::NamedTensors(model_.module().named_parameters()));
  }

  std::string title() const override {
    if (!distributed_) return "the same step, no communication";
    if (steps_ == 0) return "horovod_cpp DistributedOptimizer";
    return text("horovod_cpp DistributedOptimizer; backward hides ",
                std::lround(100 * hidden_shares_ / steps_), " % of the communication");
  }

  void fill(int repetition) override {
    std::tie(inputs_, targets_) = batch_of(name_, hvd::rank(), repetition);
    const torch::NoGradGuard no_grad;
    const auto from = model_.module().parameters();
    const auto to = reference_.module().parameters();
    for (std::size_t i = 0; i < from.size(); ++i) to[i].copy_(from[i]);
  }

  Status run() override {
    try {
      distributed_ ? distributed_->zero_grad() : sgd_.zero_grad();
      model_.loss(inputs_, targets_).backward();
      if (distributed_) {
        distributed_->step();
        hidden_shares_ += distributed_->last_overlap().hidden_share();
        ++steps_;
      } else {
        sgd_.step();
      }
    } catch (const std::exception& failure) {
      return Status::aborted(failure.what());
    }
    return {};
  }

  // The gradients are those of one process that sees the batches of all who train together.
  Status verify(int repetition) override {
    reference_.module().zero_grad();
    const int first = distributed_ ? 0 : hvd::rank();
    const int last = distributed_ ? hvd::size() : first + 1;
    for (int rank = first; rank < last; ++rank) {
      const auto [inputs, targets] = batch_of(name_, rank, repetition);
      (reference_.loss(inputs, targets) / (last - first)).backward();
    }
    const auto right = reference_.module().parameters();
    std::size_t i = 0;
    for (const auto& parameter : model_.module().named_parameters()) {
      const auto& expected = right[i++].grad();
      const double difference = (parameter->grad() - expected).norm().item<double>();
      if (!(difference <= 1e-3 * expected.norm().item<double>() + 1e-7)) {
        return Status::internal(text("wrong gradient of ", parameter.key(), ": it differs by ", difference));
      }
    }
    return {};
  }

  std::optional<std::uint64_t> digest() const override {
    if (!distributed_) return std::nullopt;
    std::uint64_t digest = 0;
    for (const auto& parameter : sgd_.param_groups()[0].params()) {
      const std::span<const float> values(parameter.data_ptr<float>(),
                                          static_cast<std::size_t>(parameter.numel()));
      digest = bench::digest(values, digest);
    }
    return digest;
  }

 private:
  std::string name_;
  StepModel model_;
  StepModel reference_;
  torch::optim::SGD sgd_;
  std::optional<hvd::DistributedOptimizer> distributed_;
  double hidden_shares_ = 0;  // of all steps
  int steps_ = 0;
  torch::Tensor inputs_;
  torch::Tensor targets_;
};

}  // namespace

Result<std::unique_ptr<Contender>> make_step(const Workload& workload, Together together) {
  if (together == Together::sharded) return Status::unimplemented("updates given gradients only");
  try {
    return std::unique_ptr<Contender>(std::make_unique<Step>(workload, together));
  } catch (const std::exception& failure) {
    return Status::aborted(failure.what());
  }
}

}  // namespace hvd::bench
