// GradientExchange: reduces the gradients of one set of parameters over all ranks, once a backward.
//
// While a backward runs, p.grad is taken away (kept), so that what autograd accumulates is this backward's piece alone, in memory of its own.
// Each piece is taken as it becomes complete. A round of the exchange ends with each outermost backward. In a round every rank
//   1. submits the piece of each gradient as it comes, together with what was in p.grad, unless that is reduced already,
//   2. at the close submits its facts (RoundFacts): which gradients it produced, whether its backward failed, which round this is,
//   3. submits for each gradient that it has not submitted, and another rank has, what was in p.grad or zeros, and sparse gradients,
//   4. waits for everything. The result becomes p.grad or, if what was there is reduced already, is added to it.
// A further piece of a gradient in the same round (re-entrant checkpointing, threads) is spilled: it is reduced in another round that follows
// at once, if facts say that some rank has such pieces. So it does not matter which pieces meet in a round: sums of sums are sums.
// A backward that threw closes its round by submitting stand-ins for all the rest and a failure in the facts;
// the others do likewise when they read it, so that everything ends everywhere. All ranks then drop the step.
//
// Threading: every method may be called from any thread. Backwards may run on several threads at once; each has a round of its own, one
// after the other, and p.grad is back when the last has ended. The mutex is free while somebody waits for ranks (but in add()). A hook waits for
// ranks only if an earlier backward of this rank threw; otherwise at most for another thread that accumulates into the same parameter.
// Several exchanges may end with the same backward, in another order on another rank, or not at all there: a close is done in steps, and
// no step waits for what another exchange does later (advance_close).
// Ownership: hooks refer weakly to the exchange, a running backward strongly; the parameters are kept alive.
// Errors: exceptions of errors.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "bindings/torch/accumulation.h"
#include "bindings/torch/arena_opening.h"
#include "bindings/torch/bucket_round.h"
#include "bindings/torch/exchange_options.h"
#include "bindings/torch/gradient_arena.h"
#include "bindings/torch/gradient_groups.h"
#include "bindings/torch/named_parameter.h"
#include "bindings/torch/round_facts.h"
#include "horovod_cpp/session.h"
#include "horovod_cpp/torch/context.h"
#include "horovod_cpp/torch/step_overlap.h"

namespace hvd {

class GradientExchange : public std::enable_shared_from_this<GradientExchange> {
 public:
  // Installs the hooks; collective. Throws if a parameter already has a hook of this class, or ranks differ.
  static std::shared_ptr<GradientExchange> create(std::shared_ptr<Context> context,
                                                  std::vector<NamedParameter> parameters,
                                                  ExchangeOptions options);
  // More parameters. Collective, not while a backward runs. Throws as create(), and has then changed nothing.
  void add(std::vector<NamedParameter> parameters);
  bool has(const at::Tensor& parameter) const;
  bool has_any_of(const std::unordered_set<const c10::TensorImpl*>& parameters) const;
  std::size_t parameter_count() const;
  // Including this one.
  std::vector<std::shared_ptr<GradientExchange>> exchanges_of_context() const;
  // From autograd: the running backward reaches these parameters (gradient_hook.h).
  void on_backward_reaching();
  // Removes the hooks. Waits for nothing.
  void detach();

  // Ends a round that a failed backward left open. Throws if the world failed.
  void settle();
  // Takes part in a round without a gradient.
  void run_empty_round();

  // settle(), and forgets what was since the last step: rounds, that p.grad is reduced, and that the step was to be dropped.
  void start_afresh();
  // settle(); runs an empty round if there was none since the last step. False if the step is to be dropped.
  bool finish_step();
  // While there are more holds than releases, backwards are local: what they add is reduced with the first backward after that, or by
  // finish_step().
  void hold();
  void release() noexcept;
  // Rounds that were ended, ever.
  std::int64_t rounds() const;
  // Of the last step that finish_step() or start_afresh() has ended.
  StepOverlap last_overlap() const;

  // hvd::join. First: throws std::logic_error if a backward runs.
  void check_idle() const;
  // Second: this rank has no more data, and the others' epochs are not to wait for it. Waits only for a round that a failed backward left.
  void withdraw();
  // Third, when all ranks have: what comes next is the first backward of a step.
  void end_join();
  // In the steady state: the 2-norm of all p.grad as they are now, the same bits on ranks that have the same. Without another pass over them if
  // they are as they were reduced. (A change through p.grad().data() of single elements goes unnoticed; of all of them it does not.)
  std::optional<double> norm_of_step();
  // "rank 1, DistributedOptimizer: ", before what is said to a mistake.
  std::string name_of_caller() const;
  // Whose context it has.
  int process_set() const { return context_->process_set(); }

  // The mean over ranks of a loss.
  at::Tensor average_loss(const at::Tensor& loss);

 private:
  friend class GradientHook;
  friend class ArrivalHook;
  friend class BackwardSentinel;
  using Lock = std::unique_lock<std::mutex>;

  struct Reduction {  // what the core knows it by
    TensorId id;
    std::optional<DataType> dtype;
  };
  struct Gradient {
    std::string name;
    at::Tensor parameter;
    Reduction dense;
    Reduction rows;           // see sparse_rows.h
    bool is_reduced = false;  // p.grad is the same on all ranks: since the last start_afresh()
    at::Tensor kept;          // p.grad as it was, while backward runs
    at::Tensor spill;         // pieces for the next round
    bool has_local = false;   // pieces of local backwards are in p.grad, or kept
    // p.grad was, before the backwards of this round, local ones too: what a dropped step goes back to.
    bool was_defined = false;
    // Of this round:
    bool is_produced = false;
    bool is_alone = false;   // what comes now: nobody else holds it
    at::Tensor value;        // what this rank contributes; undefined: nothing
    bool is_shared = false;  // its storage has other users: it is replaced, not written
    Work work;               // valid once submitted
    at::Tensor memory;       // what the core works on: value's, or a copy
    enum class Form : std::uint8_t { in_place, copy, rows } form = Form::in_place;
  };
  struct OpenBackward {
    int graph_task;
    bool has_failed;  // one that ran inside it did
    bool is_local;    // see accumulation.h
  };
  struct Outcome {
    Status status;
    int failed_backwards = 0;
    bool another_round_follows = false;
    bool step_has_begun = false;  // somewhere: it is not still one that was dropped
  };
  struct KnownNorm {
    struct Seen {
      std::int64_t version = -1;  // of p.grad; -1: undefined
      std::string probes = {};    // some of its elements
    };
    std::optional<double> squares;
    std::vector<Seen> gradients;
  };
  // A gradient between the call before its accumulation and the call after it.
  struct Arrival {
    std::thread::id thread;
    int graph_task;
    std::size_t index;
  };
  enum class Phase : std::uint8_t { open, hooks_called, facts_sent, all_sent, epoch_closed, opening };

  GradientExchange(std::shared_ptr<Context> context, ExchangeOptions options);
  // Nothing to do for anybody.
  bool is_idle() const { return context_->size() == 1 && !options_.has_divisor; }
  static std::vector<Gradient> gradients_of(std::vector<NamedParameter> parameters);
  void check_agreement(const std::vector<Gradient>& gradients) const;
  void check_hooks(const std::vector<Gradient>& gradients) const;

  // From autograd (gradient_hook.h).
  void on_gradient_coming(std::size_t index);
  void on_gradient(std::size_t index);
  void on_backward_inside_another(int graph_task, bool ended_well) noexcept;
  void on_backward_death(int graph_task) noexcept;
  // One step of the close of this backward's round; true if it was the last. Waits at most `patience`, for what other ranks do by
  // themselves. Throws if the step is dropped; the round is over then.
  bool advance_close(int graph_task, std::chrono::milliseconds patience);

  // All below: mutex_ is held.
  bool is_open(int graph_task) const;
  void watch_this_backward();
  template <class IsOver>
  void end_arrivals(IsOver&& is_over);
  void open_backward(bool is_local);
  bool is_local(int graph_task) const;
  // A local backward's share: stays on this rank for now.
  void keep_piece(Gradient& gradient, const at::Tensor& piece, bool is_shared);
  void end_local_backward(int graph_task, bool has_failed);
  void keep_gradients();
  void give_gradients_back();
  void settle_locked(Lock& lock);
  // Runs `submit`; if it throws, ends the Session and the round.
  // Whether it went well.
  bool submit_or_end_session(const std::function<void()>& submit);

  // With a communication hook, before the others: calls it for what is left; waits until what it has started is done.
  void call_hooks();
  void finish_hooks(Lock& lock, Deadline deadline);
  void fail_hook();
  at::Tensor value_for_hook(std::size_t index) const;
  at::Tensor take_hook_result(Gradient& gradient);
  void rebuild_plans();

  // What no backward of this round has produced, but earlier ones have.
  void produce_leftovers();
  // The steps of a close. The second and third return false if `deadline` passed; they let go of the lock while they wait.
  void begin_close();
  void send_facts();
  bool send_rest(Lock& lock, Deadline deadline);
  bool wait_for_results(Lock& lock, Deadline deadline);
  // True if the round is over; false if another one follows at once, or a plan is opened. Throws if the step is dropped, and the round is
  // over.
  bool end_round();
  void take_over_results(bool is_good);
  void finish_round();
  void begin_to_close();
  // The next of these steps.
  bool advance(Lock& lock, Deadline deadline);
  // All of them, for a rank without a backward.
  void close_round(Lock& lock);
  void close_failed_round();
  void submit_facts();
  Outcome outcome_of_round() const;

  // `piece` has come: into this round, or spilled.
  void take(Gradient& gradient, const at::Tensor& piece, bool is_shared);
  void produce(Gradient& gradient, at::Tensor piece, bool is_shared);
  // Declares if the id is new. The operation on `memory`, in place.
  Result<Submission> prepare(Declaration declaration, TensorId& id, const at::Tensor& memory);
  Result<Submission> prepare(Gradient& gradient);
  // What these have as memory, with one wake-up of the core. A failure is the Work's.
  void submit(const std::vector<std::size_t>& gradients);
  // Memory for a gradient that has none yet: what this rank has of it, in the form that all ranks use in this round.
  void make_rest(Gradient& gradient, bool as_rows);
  // Everything that is wanted and was not submitted.
  void submit_rest(const std::function<bool(std::size_t)>& is_wanted,
                   const std::function<bool(std::size_t)>& as_rows);
  void take_over_result(Gradient& gradient);
  void forget_values(Gradient& gradient);

  // The steady state (gradient_exchange_epochs.cpp): once all ranks had a regular round, they share an arena and reduce by a plan, without
  // negotiation, until a rank needs it.
  bool can_have_plan() const;
  bool has_plan() const;
  bool fits_plan(const Gradient& gradient, const at::Tensor& piece) const;
  bool wants_to_open();
  void start_opening();
  bool advance_opening(Lock& lock, Deadline deadline);
  void tell_of_no_plan(const Status& why) const;
  void write_slot(std::size_t index, const at::Tensor& piece);
  void produce_in_arena(Gradient& gradient, const at::Tensor& piece);
  void fill_rest_of_arena();
  CloseWord close_word() const;
  void close_epoch();
  bool wait_for_outcome(Lock& lock, Deadline deadline);
  Outcome outcome_of_epoch() const;
  void take_over_slot(Gradient& gradient);
  void remember_norm(bool is_whole_step);
  bool is_unchanged(std::size_t index, const at::Tensor& grad) const;
  bool put_into_slot(std::size_t index, const at::Tensor& grad);
  void follow_epoch_outcome();
  void drop_arena();
  void begin_step();
  std::string name_of_operation(const std::string& what) const;

  static constexpr int kNobody = -1;
  static constexpr int kCaller = -2;  // not a backward: step()
  static constexpr int kMostRoundsToOpen = 64;

  const std::shared_ptr<Context> context_;
  const ExchangeOptions options_;
  const int number_;

  mutable std::mutex mutex_;
  std::condition_variable round_ended_;
  std::condition_variable arrival_ended_;
  std::vector<Arrival> arrivals_;  // one a thread at most
  std::vector<Gradient> gradients_;
  bool gradients_are_kept_ = false;
  GradientGroups groups_;
  Accumulation accumulation_;
  std::unique_ptr<BucketRound> buckets_;  // nullptr without a communication hook
  std::exception_ptr hook_error_;         // of this round, at its close
  bool a_local_backward_failed_ = false;  // since the last round
  bool may_plan_ = false;                 // the same on all ranks
  int regular_rounds_ = 0;
  int regular_rounds_to_open_ = 1;  // more after each plan that was left
  std::unique_ptr<ArenaOpening> opening_;
  std::shared_ptr<GradientArena> arena_;  // nullptr: rounds are negotiated, and no words say how they ended
  EpochOutcome epoch_outcome_;            // of the round that ends
  KnownNorm norm_;
  // Of this round:
  bool is_planned_round_ = false;   // once its epoch is closed
  bool epoch_is_closed_ = false;    // its close word is written
  bool needs_negotiation_ = false;  // a piece that no plan can hold
  bool has_added_ = false;          // an average to one that was there
  // Of this step:
  bool has_outcome_ = false;  // a word says that all ranks take it
  StepOverlap overlap_, last_overlap_;
  std::optional<std::chrono::steady_clock::time_point> close_began_;  // of this round
  std::chrono::nanoseconds in_backends_{};                            // Session's, when the last round ended
  std::vector<std::size_t> order_of_arrival_;
  std::chrono::steady_clock::time_point first_arrival_;
  RoundFacts facts_;
  TensorId facts_id_;
  Work facts_work_;
  std::vector<OpenBackward> open_backwards_;  // that have not begun to close
  Phase phase_ = Phase::open;
  int closer_ = kNobody;  // whose close it is in the other phases; kNobody: of a backward that threw
  bool own_backward_failed_ = false;  // in this round
  int deaths_to_close_ = 0;           // backwards that threw while another's round was being closed
  bool step_is_dropped_ = false;
  bool is_detached_ = false;
  std::int64_t rounds_ = 0;          // that were ended, ever …
  std::int64_t rounds_at_step_ = 0;  // … and when the last step was
};

}  // namespace hvd
