// Several optimizers at once.
#include "tests/torch/same_training.h"

namespace hvd {
namespace {

class Optimizers : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Optimizers, testing::Values(1, 2, 3));

std::unique_ptr<torch::optim::Optimizer> adam_of(const std::vector<torch::Tensor>& parameters) {
  return std::make_unique<torch::optim::Adam>(parameters, torch::optim::AdamOptions(0.02));
}

TEST_P(Optimizers, OverPartsOfOneModel) {
  expect_same_training<Towers>(GetParam(), [](Towers& model, const Side& side) {
    std::vector<torch::Tensor> others = model.below->parameters();
    for (const auto& parameter : model.left->parameters()) others.push_back(parameter);
    Trainer one(side, sgd_of(others), model.named_parameters());
    Trainer two(side, adam_of(model.right->parameters()), model.named_parameters());
    for (int step = 0; step < kSteps; ++step) {
      one.zero_grad(step % 2 == 0);
      two.zero_grad(step % 2 == 1);
      side.backward([&](int rank) {
        const auto hidden = model.hidden(side.part(inputs_of(step), rank));
        return torch::mse_loss(model.left(hidden) + model.right(hidden), side.part(targets_of(step), rank));
      });
      two.step();
      one.step();
    }
  });
}

// Ranks meet the two optimizers' parameters in another order, or one of them not at all; gradients that one rank lacks are filled in only
// when both are closed. Whoever closes them one after the other waits for ever.
TEST_P(Optimizers, ThatRanksMeetInAnotherOrder) {
  expect_same_training<Towers>(GetParam(), [](Towers& model, const Side& side) {
    Trainer one(side, sgd_of(model.left->parameters()), model.named_parameters());
    Trainer two(side, sgd_of(model.right->parameters()), model.named_parameters());
    for (int step = 0; step < 3 * kSteps; ++step) {
      one.zero_grad();
      two.zero_grad();
      side.backward([&](int rank) {
        const auto hidden = model.hidden(side.part(inputs_of(step), rank)).detach();
        const int kind = (rank + step) % 4;
        auto weight_only = [&](torch::nn::Linear& layer, bool with_bias) {
          return torch::linear(hidden, layer->weight,
                               with_bias ? layer->bias : torch::zeros_like(layer->bias));
        };
        if (kind == 0) return (weight_only(model.left, false) * weight_only(model.right, true)).mean();
        if (kind == 1) return (weight_only(model.right, false) * weight_only(model.left, true)).mean();
        if (kind == 2) return weight_only(model.left, true).square().mean();
        return weight_only(model.right, true).square().mean();
      });
      one.step();
      two.step();
    }
  });
}

struct Gan : torch::nn::Module {
  Gan() {
    generator = register_module("generator", torch::nn::Sequential(torch::nn::Linear(6, 5), torch::nn::Tanh(),
                                                                   torch::nn::Linear(5, 3)));
    discriminator = register_module(
        "discriminator",
        torch::nn::Sequential(torch::nn::Linear(3, 5), torch::nn::Tanh(), torch::nn::Linear(5, 1)));
    to(torch::kFloat64);
    fill(*this);
  }
  torch::nn::Sequential generator{nullptr};
  torch::nn::Sequential discriminator{nullptr};
};

// The generator's backward goes through the discriminator, whose gradients from that are cleared.
TEST_P(Optimizers, OfAGan) {
  for (const int way_to_clear : {0, 1, 2}) {
    expect_same_training<Gan>(GetParam(), [&](Gan& gan, const Side& side) {
      Trainer of_generator(side, sgd_of(gan.generator->parameters()), gan.named_parameters());
      Trainer of_discriminator(side, adam_of(gan.discriminator->parameters()), gan.named_parameters());
      const auto judged = [&](const torch::Tensor& images, double truth) {
        const auto score = gan.discriminator->forward(images);
        return torch::binary_cross_entropy_with_logits(score, torch::full_like(score, truth));
      };
      for (int step = 0; step < kSteps; ++step) {
        if (way_to_clear == 0) of_discriminator.zero_grad();
        if (way_to_clear == 1) of_discriminator.zero_grad(/*set_to_none=*/false);
        if (way_to_clear == 2) gan.discriminator->zero_grad();
        side.backward([&](int rank) {
          const auto fakes = gan.generator->forward(side.part(inputs_of(step), rank)).detach();
          return judged(fakes, 0) + judged(side.part(targets_of(step), rank), 1);
        });
        of_discriminator.step();
        of_generator.zero_grad();
        side.backward(
            [&](int rank) { return judged(gan.generator->forward(side.part(inputs_of(step), rank)), 1); });
        of_generator.step();
      }
    });
  }
}

}  // namespace
}  // namespace hvd
