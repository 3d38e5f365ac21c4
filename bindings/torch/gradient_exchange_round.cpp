// A round of GradientExchange, from the first piece to the result.
#include <ATen/core/grad_mode.h>

#include "bindings/torch/gradient_exchange.h"
#include "bindings/torch/sparse_rows.h"
#include "bindings/torch/tensor_facts.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {
namespace {

// Whether others than the one tensor that we hold see this memory.
bool has_other_users(const at::Tensor& tensor) {
  return is_dense(tensor) && tensor.storage().use_count() > 1;
}

}  // namespace

// --- p.grad ---

void GradientExchange::keep_gradients() {
  if (gradients_are_kept_) return;
  gradients_are_kept_ = true;
  for (Gradient& gradient : gradients_) {
    if (gradient.parameter.grad().defined()) std::swap(gradient.kept, gradient.parameter.mutable_grad());
    if (!gradient.has_local) gradient.was_defined = gradient.kept.defined();
  }
}

void GradientExchange::give_gradients_back() {
  gradients_are_kept_ = false;
  for (Gradient& gradient : gradients_) {
    const at::Tensor& grad = gradient.parameter.grad();
    if (!gradient.kept.defined()) continue;
    // One that is there was accumulated past us: our hook was replaced.
    if (grad.defined()) gradient.kept = add_gradient(gradient.kept, grad);
    gradient.parameter.mutable_grad() = std::move(gradient.kept);
    gradient.kept.reset();
  }
}

// --- pieces ---

void GradientExchange::take(Gradient& gradient, const at::Tensor& piece, bool is_shared) {
  const bool round_is_open = phase_ == Phase::open;
  const bool fits = !has_plan() || fits_plan(gradient, piece);
  needs_negotiation_ = needs_negotiation_ || !fits;
  if (round_is_open && !gradient.is_produced && fits) return produce(gradient, piece, is_shared);
  if (!fits && gradient.has_local && !gradient.is_reduced && !gradient.spill.defined()) {
    gradient.spill = std::exchange(gradient.kept, {});
  }
  if (gradient.spill.defined()) {
    gradient.spill = add_gradient(gradient.spill, piece);
  } else {
    gradient.spill = is_shared ? contiguous_copy(piece.detach()) : piece;
  }
}

void GradientExchange::produce(Gradient& gradient, at::Tensor piece, bool is_shared) {
  gradient.is_produced = true;
  const auto index = static_cast<std::size_t>(&gradient - gradients_.data());
  if (order_of_arrival_.empty()) first_arrival_ = std::chrono::steady_clock::now();
  order_of_arrival_.push_back(index);
  if (has_plan()) return produce_in_arena(gradient, piece);
  needs_negotiation_ = needs_negotiation_ || !fits_plan(gradient, piece);
  gradient.value = std::move(piece);
  gradient.is_shared = is_shared;
  if (!gradient.is_reduced && gradient.kept.defined()) {
    gradient.value = add_gradient(gradient.kept, gradient.value);
    gradient.kept.reset();
    gradient.is_shared = has_other_users(gradient.value);
  }
  if (buckets_) return buckets_->arrive(index);
  if (!is_dense(gradient.value)) return;  // waits for the facts: see make_rest
  const at::Tensor memory = gradient.value.detach();
  const bool is_copy = gradient.is_shared || !is_plain_memory(memory);
  gradient.memory = is_copy ? contiguous_copy(memory) : memory;
  gradient.form = is_copy ? Gradient::Form::copy : Gradient::Form::in_place;
  submit(groups_.arrive(index));
}

// --- the close ---

// What throws here would leave the other ranks waiting for what was not submitted.
bool GradientExchange::submit_or_end_session(const std::function<void()>& submit) {
  try {
    submit();
    return true;
  } catch (const std::exception& error) {
    const Status why =
        Status::aborted(text("rank ", context_->rank(),
                             ": gradients could not be submitted at the end of backward: ", error.what()));
    context_->session().abort(why);
    facts_work_ = Work::finished(why);
    return false;
  }
}

void GradientExchange::submit_facts() {
  RoundFacts::Own own;
  own.backward_failed = own_backward_failed_;
  own.round = rounds_ - rounds_at_step_;
  own.has_begun = !step_is_dropped_;
  own.can_plan = may_plan_ && !needs_negotiation_;
  for (const Gradient& gradient : gradients_) {
    const bool has_local_values = !gradient.is_reduced && is_dense(gradient.kept);
    own.is_produced.push_back(gradient.is_produced);
    own.is_dense.push_back(is_dense(gradient.value) || has_local_values);
    own.has_more = own.has_more || gradient.spill.defined();
  }
  facts_.write(own);
  Declaration declaration;
  declaration.name = name_of_operation("used gradients");
  declaration.op = ReduceOp::sum;
  Result<Submission> submission = prepare(std::move(declaration), facts_id_, facts_.tensor());
  facts_work_ = submission.is_ok() ? context_->session().submit(std::move(submission).value())
                                   : Work::finished(submission.status());
}

void GradientExchange::produce_leftovers() {
  for (Gradient& gradient : gradients_) {
    if (gradient.is_produced) continue;
    if (has_plan() && gradient.spill.defined() && !fits_plan(gradient, gradient.spill)) {
      needs_negotiation_ = true;
    } else if (gradient.spill.defined()) {
      produce(gradient, std::exchange(gradient.spill, {}), /*is_shared=*/false);
    } else if (gradient.has_local && !gradient.is_reduced && gradient.kept.defined()) {
      at::Tensor sum = std::exchange(gradient.kept, {});
      if (has_plan() && !fits_plan(gradient, sum)) {
        gradient.spill = std::move(sum);
        needs_negotiation_ = true;
        continue;
      }
      const bool is_shared = has_other_users(sum);
      produce(gradient, std::move(sum), is_shared);
    }
  }
}

void GradientExchange::begin_close() { has_plan() ? close_epoch() : send_facts(); }

void GradientExchange::send_facts() {
  submit_or_end_session([&] {
    // Buckets are on their way already: what came since waits for the next round.
    if (!buckets_) produce_leftovers();
    submit_facts();
  });
  phase_ = Phase::facts_sent;
}

bool GradientExchange::send_rest(Lock& lock, Deadline deadline) {
  const Work facts = facts_work_;
  lock.unlock();
  static_cast<void>(facts.wait(deadline));
  lock.lock();
  if (!facts.done()) return false;
  const Status status = facts.wait();
  phase_ = Phase::all_sent;
  if (!status.is_ok()) return true;
  submit_or_end_session([&] {
    const bool has_failed = facts_.failed_backwards() > 0;
    if (buckets_) {
      if (has_failed) buckets_->give_up();
      return;
    }
    submit_rest([&](std::size_t i) { return has_failed || facts_.is_used_somewhere(i); },
                [&](std::size_t i) { return !has_failed && !facts_.is_dense_somewhere(i); });
  });
  return true;
}

void GradientExchange::close_failed_round() {
  own_backward_failed_ = true;
  step_is_dropped_ = true;
  if (has_plan()) return close_epoch();
  submit_or_end_session([&] {
    if (buckets_) {
      buckets_->give_up();
    } else {
      submit_rest([](std::size_t) { return true; }, [](std::size_t) { return false; });
    }
    submit_facts();
  });
  // Before the results: nobody needs them, and nobody is to wait until this rank comes back.
  if (arena_) close_epoch();
  phase_ = Phase::all_sent;
}

bool GradientExchange::wait_for_results(Lock& lock, Deadline deadline) {
  std::vector<Work> all{facts_work_};
  for (const Gradient& gradient : gradients_) {
    if (gradient.work.is_valid()) all.push_back(gradient.work);
  }
  lock.unlock();
  bool are_done = true;
  for (const Work& work : all) {
    const Status outcome = work.wait(deadline);
    are_done = are_done && (outcome.code() != StatusCode::timed_out || work.done());
  }
  if (buckets_) are_done = buckets_->wait_until(deadline) && are_done;
  lock.lock();
  return are_done;
}

// Backward hides nothing from here on.
void GradientExchange::begin_to_close() {
  if (close_began_) return;
  close_began_ = std::chrono::steady_clock::now();
  if (!has_plan()) overlap_.hidden += context_->session().time_in_backends() - in_backends_;
}

bool GradientExchange::advance(Lock& lock, Deadline deadline) {
  if (phase_ == Phase::open) {
    begin_to_close();
    if (buckets_) {
      call_hooks();
    } else {
      begin_close();
    }
    return false;
  }
  if (phase_ == Phase::opening) return advance_opening(lock, deadline);
  if (phase_ == Phase::epoch_closed) return wait_for_outcome(lock, deadline) && end_round();
  if (phase_ == Phase::hooks_called) {
    finish_hooks(lock, deadline);
    return false;
  }
  if (phase_ == Phase::facts_sent) {
    send_rest(lock, deadline);
    return false;
  }
  if (!wait_for_results(lock, deadline)) return false;
  if (!arena_) return end_round();
  // Whose results are lost to a failure does not say that all is well.
  if (!epoch_is_closed_ && context_->session().status().is_ok()) close_epoch();
  phase_ = Phase::epoch_closed;
  return false;
}

void GradientExchange::close_round(Lock& lock) {
  keep_gradients();
  closer_ = kCaller;
  while (!advance(lock, Deadline::never())) {
  }
}

void GradientExchange::settle_locked(Lock& lock) {
  const at::NoGradGuard no_grad;
  while (closer_ == kNobody && phase_ != Phase::open) {
    closer_ = kCaller;
    try {
      while (!advance(lock, Deadline::never())) {
      }
      // NOLINTNEXTLINE(bugprone-empty-catch): told already, by the backward that was to close it
    } catch (const StepDiscarded&) {
    }
  }
}

}  // namespace hvd
