// The models of the steps, and their batches, as peers/models.py has them.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "horovod_cpp/base/status.h"
#include "tests/bench/workload.h"

namespace hvd::bench {

// A model of either kind, the same on every rank.
class StepModel {
 public:
  explicit StepModel(const std::string& workload);

  torch::nn::Module& module() { return *module_; }
  // Of the batch of this rank in this repetition.
  torch::Tensor loss(const torch::Tensor& inputs, const torch::Tensor& targets) {
    return loss_(inputs, targets);
  }

 private:
  std::shared_ptr<torch::nn::Module> module_;
  std::function<torch::Tensor(const torch::Tensor&, const torch::Tensor&)> loss_;
};

// Inputs and targets, different for each rank and repetition.
std::pair<torch::Tensor, torch::Tensor> batch_of(const std::string& workload, int rank, int repetition);

}  // namespace hvd::bench
