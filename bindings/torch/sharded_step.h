// ShardedStep: what DistributedOptimizer takes for an optimizer of the whole model, while the wrapped one updates this rank's slice of it.
//
// Parameters lie in flat memory, one for each type and device (shard_plan.h); their tensors are repointed there. The wrapped optimizer's groups have
// pieces of this rank's slices in place of parameters, small enough that all it does to one happens in the cache. After its step the slices
// go to everybody, each rank's at its own place.
// One thread at a time.
#pragma once

#include <torch/optim/optimizer.h>

#include <memory>
#include <string>
#include <vector>

#include "bindings/torch/named_parameter.h"
#include "bindings/torch/shard_plan.h"
#include "bindings/torch/shard_state.h"
#include "horovod_cpp/coordinator/submission.h"
#include "horovod_cpp/torch/context.h"

namespace hvd {

class ShardedStep final : public torch::optim::Optimizer {
 public:
  // `wrapped` outlives this. Throws std::invalid_argument; nothing has changed then.
  ShardedStep(torch::optim::Optimizer& wrapped, std::shared_ptr<Context> context);

  // Repoints parameters and cuts the wrapped optimizer's state. `named`: all parameters, in the order of its groups. Collective.
  void take_over(const std::vector<NamedParameter>& named);

  at::Tensor step(LossClosure closure = nullptr) override;
  void save(torch::serialize::OutputArchive& archive) const override;
  void load(torch::serialize::InputArchive& archive) override;

  // Collective: the same as one optimizer over all parameters, with all state; nullptr on ranks other than `root`.
  std::unique_ptr<torch::optim::Optimizer> gather(int root);

 private:
  struct Pool {
    at::Tensor values;  // flat memory
    TensorId id;        // of the allgather of its slices
  };

  // With their options.
  static std::vector<torch::optim::OptimizerParamGroup> groups_like(torch::optim::Optimizer& optimizer);
  static at::Tensor part(const at::Tensor& flat, std::size_t begin, std::size_t count);
  std::string who() const;
  std::string name_of_operation(const char* what) const;
  void check_types() const;
  void check_agreement() const;
  void lay_out();
  void cut_state();
  void check_places() const;
  void lend_gradients();
  void return_gradients();
  // Every rank's slice of `values`, which are laid out like this pool, goes to its place on all …
  Submission slice_for_all(std::size_t pool, const at::Tensor& values) const;
  // … and that of several.
  void publish(std::vector<Submission> slices) const;
  at::Tensor state_facts();
  at::Tensor flat_state(std::size_t pool, std::size_t tensor);

  torch::optim::Optimizer& wrapped_;
  const ShardableKind& kind_;
  const std::shared_ptr<Context> context_;
  const int number_;
  std::size_t member_ = 0;
  std::vector<NamedParameter> parameters_;
  std::vector<std::size_t> pool_of_;  // [parameter]
  std::vector<Pool> pools_;
  ShardPlan plan_;
  std::vector<at::Tensor> pieces_;  // of plan_.pieces; leaves without history
};

}  // namespace hvd
