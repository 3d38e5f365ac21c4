#include "bindings/torch/shard_state.h"

#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <array>
#include <typeinfo>
#include <utility>

namespace hvd {
namespace {

namespace optim = torch::optim;

std::vector<at::Tensor*> tensors_of(optim::SGDParamState& state) { return {&state.momentum_buffer()}; }
template <class State>
std::vector<at::Tensor*> moments_of(State& state) {
  return {&state.exp_avg(), &state.exp_avg_sq(), &state.max_exp_avg_sq()};
}
std::vector<at::Tensor*> tensors_of(optim::AdamParamState& state) { return moments_of(state); }
std::vector<at::Tensor*> tensors_of(optim::AdamWParamState& state) { return moments_of(state); }
std::vector<at::Tensor*> tensors_of(optim::RMSpropParamState& state) {
  return {&state.square_avg(), &state.momentum_buffer(), &state.grad_avg()};
}

template <class Optimizer, class Options, class State>
class Kind final : public ShardableKind {
 public:
  explicit Kind(const char* name) : name_(name) {}

  bool is_of(const optim::Optimizer& optimizer) const override {
    return typeid(optimizer) == typeid(Optimizer);
  }
  const char* name() const override { return name_; }
  std::unique_ptr<optim::OptimizerParamState> new_state() const override { return std::make_unique<State>(); }
  std::vector<at::Tensor*> tensors(optim::OptimizerParamState& state) const override {
    return tensors_of(static_cast<State&>(state));
  }
  std::int64_t* step(optim::OptimizerParamState& state) const override {
    if constexpr (requires { static_cast<State&>(state).step(); }) {
      return &static_cast<State&>(state).step();
    } else {
      return nullptr;
    }
  }
  std::unique_ptr<optim::Optimizer> make(std::vector<optim::OptimizerParamGroup> groups,
                                         const optim::Optimizer& like) const override {
    return std::make_unique<Optimizer>(std::move(groups), static_cast<const Options&>(like.defaults()));
  }

 private:
  const char* name_;
};

const Kind<optim::SGD, optim::SGDOptions, optim::SGDParamState> kSgd("SGD");
const Kind<optim::Adam, optim::AdamOptions, optim::AdamParamState> kAdam("Adam");
const Kind<optim::AdamW, optim::AdamWOptions, optim::AdamWParamState> kAdamW("AdamW");
const Kind<optim::RMSprop, optim::RMSpropOptions, optim::RMSpropParamState> kRmsprop("RMSprop");
const std::array<const ShardableKind*, 4> kAll{&kSgd, &kAdam, &kAdamW, &kRmsprop};

}  // namespace

const ShardableKind* ShardableKind::of(const optim::Optimizer& optimizer) {
  for (const ShardableKind* const kind : kAll) {
    if (kind->is_of(optimizer)) return kind;
  }
  return nullptr;
}

}  // namespace hvd
