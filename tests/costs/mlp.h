// The network and the step of tests/costs. Includes torch/torch.h.
#pragma once

#include <horovod_cpp/torch.h>
#include <torch/torch.h>

#include <memory>

namespace hvd {

struct MlpSizes {
  std::int64_t inputs;
  std::int64_t hidden;
  std::int64_t batch;
};

// A program that trains: network, data, SGD with momentum, and DistributedOptimizer around it if there is a context.
class Training {
 public:
  Training(const MlpSizes& sizes, const std::shared_ptr<Context>& context)
      : network_(torch::nn::Linear(sizes.inputs, sizes.hidden), torch::nn::ReLU(),
                 torch::nn::Linear(sizes.hidden, sizes.hidden), torch::nn::ReLU(),
                 torch::nn::Linear(sizes.hidden, 10)),
        inputs_(torch::ones({sizes.batch, sizes.inputs})),
        targets_(torch::zeros({sizes.batch, 10})),
        sgd_(network_->parameters(), torch::optim::SGDOptions(1e-4).momentum(0.9)) {
    if (!context) return;
    DistributedOptimizerOptions options;
    options.context = context;
    optimizer_ = std::make_unique<DistributedOptimizer>(sgd_, network_->named_parameters(), options);
  }

  void step() {
    optimizer_ ? optimizer_->zero_grad() : sgd_.zero_grad();
    torch::mse_loss(network_->forward(inputs_), targets_).backward();
    optimizer_ ? optimizer_->step() : sgd_.step();
  }

  std::vector<torch::Tensor> parameters() const { return network_->parameters(); }

 private:
  torch::nn::Sequential network_;
  torch::Tensor inputs_;
  torch::Tensor targets_;
  torch::optim::SGD sgd_;
  std::unique_ptr<DistributedOptimizer> optimizer_;
};

}  // namespace hvd
