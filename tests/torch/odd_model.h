// A model for what cuts parameters into slices.
#pragma once

#include "tests/torch/optimizers.h"

namespace hvd {

// Parameters that no cut fits: longer than a piece, odd, of one element, of none; and one of another type.
struct Odd : torch::nn::Module {
  Odd() {
    wide = add("wide", {67, 1001}, torch::kFloat32);
    odd = add("odd", {7}, torch::kFloat32);
    one = add("one", {}, torch::kFloat32);
    none = add("none", {0, 3}, torch::kFloat32);
    precise = add("precise", {33, 5}, torch::kFloat64);
    unused = add("unused", {11}, torch::kFloat32);
  }
  torch::Tensor add(const char* name, torch::IntArrayRef shape, torch::ScalarType type) {
    return register_parameter(name, (numbers(shape, phase += 1) * 0.5).to(type));
  }
  torch::Tensor loss(int rank, int step) {
    torch::Tensor sum = torch::zeros({}, torch::kFloat64);
    for (const torch::Tensor& parameter : {wide, odd, one, none, precise}) {
      const auto data = numbers(parameter.sizes(), 10.0 * step + rank).to(parameter.scalar_type());
      sum = sum + torch::sin(parameter * data + data).sum().to(torch::kFloat64);
    }
    return sum;
  }

  double phase = 0;
  torch::Tensor wide, odd, one, none, precise, unused;
};

// The last two in a group of their own, with another learning rate.
inline std::unique_ptr<torch::optim::Optimizer> two_groups(const std::string& kind, Odd& model) {
  const Tensors all = model.parameters();
  auto optimizer = make_optimizer(kind, Tensors(all.begin(), all.end() - 2));
  torch::optim::OptimizerParamGroup group(Tensors(all.end() - 2, all.end()), optimizer->defaults().clone());
  group.options().set_lr(0.003);
  optimizer->add_param_group(group);
  return optimizer;
}

}  // namespace hvd
