#include "tests/bench/contenders/torch_models.h"

#include <ATen/CPUGeneratorImpl.h>

#include "examples/char_gpt_model.h"

namespace hvd::bench {
namespace {

constexpr char_gpt::Shape kCharGpt{.vocabulary = 96, .context = 64, .width = 192, .layers = 4, .heads = 6};
constexpr std::int64_t kPieces = 12;
constexpr std::int64_t kImages = 64;

torch::nn::Sequential make_mlp() {
  using torch::nn::Linear;
  using torch::nn::ReLU;
  return torch::nn::Sequential(Linear(784, 1024), ReLU(), Linear(1024, 1024), ReLU(), Linear(1024, 10));
}

}  // namespace

StepModel::StepModel(const std::string& workload) {
  torch::manual_seed(1);
  const auto take = [this](auto model) {
    module_ = model.ptr();
    loss_ = [model](const torch::Tensor& inputs, const torch::Tensor& targets) mutable {
      return torch::cross_entropy_loss(model->forward(inputs).flatten(0, -2), targets);
    };
  };
  if (workload == "mlp") {
    take(make_mlp());
  } else {
    take(char_gpt::Model(kCharGpt));
  }
}

std::pair<torch::Tensor, torch::Tensor> batch_of(const std::string& workload, int rank, int repetition) {
  auto random =
      at::make_generator<at::CPUGeneratorImpl>(static_cast<std::uint64_t>(1000 * repetition + rank));
  if (workload == "mlp") {
    auto images = torch::randn({kImages, 784}, random);
    return {images, torch::randint(10, {kImages}, random, torch::kLong)};
  }
  const auto pieces =
      torch::randint(kCharGpt.vocabulary, {kPieces, kCharGpt.context + 1}, random, torch::kLong);
  return {pieces.slice(1, 0, -1), pieces.slice(1, 1).flatten()};
}

}  // namespace hvd::bench
