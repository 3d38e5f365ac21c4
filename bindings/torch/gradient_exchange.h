// GradientExchange: reduces the gradients of one set of parameters over all ranks, once a backward.
//
// A backward of autograd is a graph task; a round of the exchange opens with the first gradient and closes
// when the last open graph task ends (several run at once with threads or re-entrant checkpointing).
// In a round every rank
//   1. submits p.grad as each becomes complete,
//   2. at the close submits its facts (RoundFacts): which gradients it produced, whether its backward failed, which round this is,
//   3. submits a stand-in (p.grad as it was, or zeros) for each gradient that it did not produce and another
//      rank did,
//   4. waits for everything.
// A backward that threw closes the round by submitting stand-ins for all the rest and a failure in the facts;
// the others do likewise when they read it, so that everything ends everywhere. All ranks then drop the step.
//
// Threading: every method may be called from any thread; hooks of one round run one at a time.
// Ownership: hooks refer weakly to the exchange, a running backward strongly; the parameters are kept alive.
// Errors: exceptions of errors.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "bindings/torch/accumulation.h"
#include "bindings/torch/bucket_round.h"
#include "bindings/torch/exchange_options.h"
#include "bindings/torch/gradient_groups.h"
#include "bindings/torch/named_parameter.h"
#include "bindings/torch/round_facts.h"
#include "horovod_cpp/session.h"
#include "horovod_cpp/torch/context.h"

namespace hvd {

class GradientExchange : public std::enable_shared_from_this<GradientExchange> {
 public:
  // Installs the hooks; collective. Throws if a parameter already has a hook of this class, or ranks differ.
  static std::shared_ptr<GradientExchange> create(std::shared_ptr<Context> context,
                                                  std::vector<NamedParameter> parameters,
                                                  ExchangeOptions options);
  // Removes the hooks. Waits for nothing.
  void detach();

  // Ends a round that a failed backward left open. Throws if the world failed.
  void settle();
  // Takes part in a round without a gradient.
  void run_empty_round();

  // settle(), and forgets what was since the last step: rounds, and that the step was to be dropped.
  void start_afresh();
  // settle(); runs an empty round if there was none since the last step. False if the step is to be dropped.
  bool finish_step();
  // While there are more holds than releases, backwards only add to p.grad; what was added is reduced with the first backward after
  // that, or by finish_step().
  void hold();
  void release() noexcept;
  // Rounds that were ended, ever.
  std::int64_t rounds() const;

  // The mean over ranks of a loss.
  at::Tensor average_loss(const at::Tensor& loss);

 private:
  friend class GradientHook;
  friend class BackwardSentinel;

  struct Gradient {
    std::string name;
    at::Tensor parameter;
    TensorId id;
    std::optional<DataType> declared_dtype;
    // Of this round:
    Work work;  // valid once submitted
    bool is_produced = false;
    bool is_kept = false;  // not of this round: p.grad has what no round has reduced
    at::Tensor memory;     // what the core works on: p.grad, or a copy
    bool is_copy = false;
    bool is_shared = false;  // p.grad's storage has other users: it is replaced, not written
  };

  GradientExchange(std::shared_ptr<Context> context, std::vector<NamedParameter> parameters,
                   ExchangeOptions options);
  // Nothing to do for anybody.
  bool is_idle() const { return context_->size() == 1 && !options_.has_divisor; }
  void check_agreement() const;
  void install_hooks();

  // From autograd.
  void on_gradient(std::size_t index);
  void on_backward_end(int graph_task);
  void on_backward_death(int graph_task) noexcept;

  // All below: mutex_ is held.
  void watch_this_backward();
  void settle_locked();
  // Runs `submit`; if it throws, ends the Session and the round.
  template <class Submit>
  void submit_or_end_session(Submit&& submit);
  // True if the pass that has just ended was local.
  bool end_local_pass();
  void produce_kept_gradients();
  // The communication hook for what is left. If it throws, the round is closed as failed.
  void finish_buckets();
  at::Tensor dense_gradient(std::size_t index) const;
  void take_over_buckets();
  void close_round();
  void close_failed_round();
  // Declares if `id` is new. The operation on `memory`, in place.
  Result<Submission> prepare(Declaration declaration, TensorId& id, const at::Tensor& memory);
  // What `gradients` have as memory, with one wake-up of the core. A failure is the Work's.
  void submit(const std::vector<std::size_t>& gradients);
  Result<Submission> prepare(Gradient& gradient);
  // Submits gradients for which `is_wanted` and that were not; those that this rank has not produced as p.grad is, or zeros.
  void submit_rest(const std::function<bool(std::size_t)>& is_wanted);
  void make_stand_in(Gradient& gradient);
  void submit_facts(bool backward_failed);
  // Waits for every submitted gradient and returns the first failure.
  Status wait_for_gradients();
  void take_over_results();
  void end_round();
  void begin_step();
  [[noreturn]] void drop_step(const Status& why);
  std::string name_of_operation(const std::string& what) const;

  const std::shared_ptr<Context> context_;
  const ExchangeOptions options_;
  const int number_;

  mutable std::mutex mutex_;
  std::vector<Gradient> gradients_;
  GradientGroups groups_;
  Accumulation accumulation_;
  std::unique_ptr<BucketRound> buckets_;  // nullptr without a communication hook
  RoundFacts facts_;
  TensorId facts_id_;
  Work facts_work_;
  std::vector<int> open_backwards_;  // graph tasks of this round
  bool a_backward_died_ = false;     // in this round
  bool is_unsettled_ = false;        // closed by a death: operations are on their way
  bool has_sums_ = false;            // p.grad holds sums since the last start_afresh()
  bool step_is_dropped_ = false;
  bool is_detached_ = false;
  std::int64_t rounds_ = 0;          // that were ended, ever …
  std::int64_t rounds_at_step_ = 0;  // … and when the last step was
};

}  // namespace hvd
