// Training that goes on with those who are left when ranks are lost.
//
//   hvd::init();
//   std::int64_t step = 0;
//   hvd::State state(*net, adamw);
//   state.track("step", step);
//   hvd::run_elastic(state, [&] {
//     hvd::DistributedOptimizer optimizer(adamw, net->named_parameters());   // a new one for each set of ranks
//     for (; step < kSteps; state.commit()) {
//       ...                                                                  // hvd::rank() and hvd::size() may have changed
//       optimizer.step();
//       ++step;
//     }
//   });
//
//   hvdrun -np 4 --min-np 2 ./train
//
// What was done since the last commit() is lost with a rank; commit as often as that is worth the copy.
#pragma once

#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace hvd {

// What a training run must not lose: a module's parameters and buffers, an optimizer, and what else is tracked. Keeps a copy in host memory.
// Refers to all of it, which must outlive it. One thread at a time. Only sync() communicates.
class State {
 public:
  // Of a DistributedOptimizer pass get(). Nothing is committed yet.
  State(torch::nn::Module& module, torch::optim::Optimizer& optimizer);

  // Belongs to the state too, under this name, of its own: std::invalid_argument if it is taken. A tensor keeps its shape and type.
  void track(const std::string& name, std::int64_t& value);
  void track(const std::string& name, double& value);
  void track(const std::string& name, at::Tensor& value);

  // Copies all of it. Costs the bytes of parameters and optimizer state, once through memory.
  void commit();
  // Goes back to the last commit, and leaves no gradients. Throws std::logic_error if there is none.
  void restore();
  // All ranks take over rank 0's state, and commit it. Collective; throws as broadcast_parameters and broadcast_optimizer_state do.
  void sync();

 private:
  using Tracked = std::variant<std::int64_t*, double*, at::Tensor*>;
  using Number = std::variant<std::int64_t, double>;

  void track_any(const std::string& name, Tracked value);
  // Parameters, buffers and tracked tensors.
  std::map<std::string, at::Tensor> tensors() const;

  torch::nn::Module& module_;
  torch::optim::Optimizer& optimizer_;
  std::map<std::string, Tracked> tracked_;
  bool is_committed_ = false;
  std::map<std::string, at::Tensor> tensors_;  // as committed, in host memory
  std::map<std::string, Number> numbers_;      // as committed
  std::string optimizer_bytes_;                // as committed
};

// Meets the ranks that are left, after a WorldError that ended the Session of hvd::init(): rank() and size() are new, everything that was made
// before (DistributedOptimizer, ProcessSet) is dead. Collective over them. WorldError: too few are left, or this process was given up
// by the others (it had been stopped, say) and must end; UnavailableError: not under hvdrun.
void meet_survivors();

// Runs state.sync(), then train(), and returns when train() does. If train() ends with a WorldError because the job lost a rank: meets those who
// are left, goes back to the last commit of the lowest of them, and runs train() again. Other exceptions pass through, also the WorldErrors of
// meet_survivors(). Without --min-np (hvdrun), or under mpirun, a loss ends with a WorldError as ever.
void run_elastic(State& state, const std::function<void()>& train);

}  // namespace hvd
