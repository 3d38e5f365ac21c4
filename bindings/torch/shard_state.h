// What the optimizers whose update is element by element keep for a parameter, under one form: so that it can be cut and put together.
#pragma once

#include <torch/optim/optimizer.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace hvd {

class ShardableKind {
 public:
  // SGD, Adam, AdamW, RMSprop themselves; nullptr for anything else, also for what is derived from them.
  static const ShardableKind* of(const torch::optim::Optimizer& optimizer);

  virtual ~ShardableKind() = default;
  virtual bool is_of(const torch::optim::Optimizer& optimizer) const = 0;
  virtual const char* name() const = 0;
  virtual std::unique_ptr<torch::optim::OptimizerParamState> new_state() const = 0;
  // One element each for one of the parameter's; may be undefined. As many for each state.
  virtual std::vector<at::Tensor*> tensors(torch::optim::OptimizerParamState& state) const = 0;
  // nullptr: it counts none.
  virtual std::int64_t* step(torch::optim::OptimizerParamState& state) const = 0;
  // Another of the kind, over these groups. `like`: gives its default options.
  virtual std::unique_ptr<torch::optim::Optimizer> make(std::vector<torch::optim::OptimizerParamGroup> groups,
                                                        const torch::optim::Optimizer& like) const = 0;
};

}  // namespace hvd
