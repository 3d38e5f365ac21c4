// The steady state of GradientExchange: rounds as epochs over a GradientArena (docs/protocol.md, "Epochs").
#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>

#include <algorithm>

#include "bindings/torch/gradient_exchange.h"
#include "bindings/torch/sparse_rows.h"
#include "bindings/torch/tensor_facts.h"
#include "horovod_cpp/base/log.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {

// --- which rounds ---

bool GradientExchange::can_have_plan() const {
  const Session& session = context_->session();
  if (options_.hook || context_->size() == 1 || !session.config().static_plan ||
      session.crosses_wire(DeviceType::cpu)) {
    return false;
  }
  return !gradients_.empty() &&
         std::all_of(gradients_.begin(), gradients_.end(), [](const Gradient& gradient) {
           return gradient.parameter.is_cpu() && data_type_of(gradient.parameter.scalar_type()).is_ok();
         });
}

bool GradientExchange::has_plan() const { return arena_ != nullptr && arena_->epochs().has_plan(); }

bool GradientExchange::fits_plan(const Gradient& gradient, const at::Tensor& piece) const {
  const auto index = static_cast<std::size_t>(&gradient - gradients_.data());
  const at::Tensor& slot = has_plan() ? arena_->slot(index) : gradient.parameter;
  if (!is_dense_like(piece, slot)) return false;
  return gradient.is_reduced || !gradient.kept.defined() || is_dense_like(gradient.kept, slot);
}

// --- opening ---

// Every rank comes to the same answer: it depends on what all ranks have told each other, and on how often they have.
bool GradientExchange::wants_to_open() {
  regular_rounds_ = facts_.ranks_that_can_plan() == context_->size() ? regular_rounds_ + 1 : 0;
  if (regular_rounds_ < regular_rounds_to_open_) return false;
  regular_rounds_ = 0;
  return true;
}

void GradientExchange::start_opening() {
  std::vector<bool> has_come(gradients_.size());
  for (const std::size_t index : order_of_arrival_) has_come[index] = true;
  std::vector<std::size_t> order = order_of_arrival_;
  for (std::size_t i = gradients_.size(); i-- > 0;) {
    if (!has_come[i]) order.push_back(i);
  }
  std::vector<ArenaItem> items;
  std::vector<std::string> names;
  for (const Gradient& gradient : gradients_) {
    items.push_back({static_cast<std::size_t>(gradient.parameter.numel()),
                     value_or_throw(data_type_of(gradient.parameter.scalar_type()))});
    names.push_back(gradient.name);
  }
  const bool has_seen_backward = !order_of_arrival_.empty() && close_began_;
  const auto backward =
      has_seen_backward ? *close_began_ - first_arrival_ : std::chrono::steady_clock::duration::zero();
  opening_ = std::make_unique<ArenaOpening>(ArenaOpening::Parts{
      context_->session(), context_->process_set(), std::move(items), std::move(order), backward,
      options_.reduction.op, options_.reduction.prescale, options_.reduction.postscale, options_.wants_norm,
      name_of_operation(""), std::move(names)});
  phase_ = Phase::opening;
}

void GradientExchange::tell_of_no_plan(const Status& why) const {
  const Log log(context_->session().config().log_level, context_->rank());
  const std::string words = text("gradients are negotiated in every step, which is slower: ", why.message());
  // All ranks know it; one of them says it. The end of a Session is none of our news.
  const bool is_first =
      context_->session().process_set(context_->process_set()).value_or(std::vector{0}).front() ==
      context_->rank();
  is_first&& why.code() == StatusCode::unavailable ? log.warning(words) : log.info(words);
}

bool GradientExchange::advance_opening(Lock& lock, Deadline deadline) {
  lock.unlock();
  const bool is_over = opening_->advance(deadline);
  lock.lock();
  if (!is_over) return false;
  if (auto arena = opening_->take()) {
    std::vector<at::Tensor> parameters;
    for (const Gradient& gradient : gradients_) parameters.push_back(gradient.parameter);
    arena_ = std::make_shared<GradientArena>(std::move(arena), parameters);
  }
  // For good: what is missing does not come back. If the world has failed, the next call tells.
  if (!arena_) {
    may_plan_ = false;
    tell_of_no_plan(opening_->status());
  }
  opening_.reset();
  finish_round();
  return true;
}

// --- an epoch ---

void GradientExchange::write_slot(std::size_t index, const at::Tensor& piece) {
  Gradient& gradient = gradients_[index];
  // What is reduced already, or is somebody else's slot, is kept apart.
  const bool stays_apart = gradient.is_reduced || !arena_->is_slot(index, gradient.kept);
  if (stays_apart && arena_->contains(gradient.kept)) gradient.kept = contiguous_copy(gradient.kept);
  if (!arena_->has_come_in_place(index, piece, gradient.is_alone))
    arena_->prepare_write(index, {&gradient.kept, &piece});
  at::Tensor slot = arena_->slot(index);
  if (gradient.is_reduced || !gradient.kept.defined()) {
    // Without detach(), which takes memory from the heap: gradients are off here, and no history is made.
    if (!arena_->is_slot(index, piece)) slot.copy_(piece);
    return;
  }
  const at::Tensor kept = std::exchange(gradient.kept, {});
  if (arena_->is_slot(index, kept)) {
    slot.add_(piece.detach());
  } else {
    at::add_out(slot, kept.detach(), piece.detach());
  }
}

void GradientExchange::produce_in_arena(Gradient& gradient, const at::Tensor& piece) {
  const auto index = static_cast<std::size_t>(&gradient - gradients_.data());
  write_slot(index, piece);
  // With create_graph it is p.grad that gets the average, and keeps its history.
  if (piece.requires_grad()) gradient.value = piece;
  arena_->rounds().arrive(index);
}

// Participation is total: what this rank did not produce it contributes as it is, or as zeros.
void GradientExchange::fill_rest_of_arena() {
  for (std::size_t i = 0; i < gradients_.size(); ++i) {
    Gradient& gradient = gradients_[i];
    if (gradient.is_produced) continue;
    // It must be there afterwards, untouched, if no rank has produced it.
    if (arena_->contains(gradient.kept)) gradient.kept = contiguous_copy(gradient.kept);
    arena_->prepare_write(i, {});
    if (own_backward_failed_) continue;  // what is added up is dropped
    at::Tensor slot = arena_->slot(i);
    if (!gradient.is_reduced && is_dense_like(gradient.kept, slot)) {
      slot.copy_(gradient.kept.detach());
    } else {
      slot.zero_();
    }
  }
}

CloseWord GradientExchange::close_word() const {
  CloseWord word;
  word.is_void = own_backward_failed_;
  word.leaves = needs_negotiation_;
  word.has_begun = !step_is_dropped_;
  word.has_more = std::any_of(gradients_.begin(), gradients_.end(),
                              [](const Gradient& gradient) { return gradient.spill.defined(); });
  word.count = static_cast<std::uint8_t>(std::min<std::int64_t>(rounds_ - rounds_at_step_, 255));
  return word;
}

void GradientExchange::close_epoch() {
  is_planned_round_ = has_plan();
  const bool is_filled = submit_or_end_session([&] {
    if (!is_planned_round_) return;
    if (!own_backward_failed_) produce_leftovers();
    fill_rest_of_arena();
  });
  // Otherwise the Session has ended, and ends the epoch: what could not be taken back must not be reduced.
  if (is_filled) arena_->rounds().close(close_word());
  epoch_is_closed_ = true;
  phase_ = Phase::epoch_closed;
}

bool GradientExchange::wait_for_outcome(Lock& lock, Deadline deadline) {
  const std::shared_ptr<GradientArena> arena = arena_;
  lock.unlock();
  const auto outcome = arena->rounds().wait(deadline);
  lock.lock();
  if (!outcome) return false;
  epoch_outcome_ = *outcome;
  if (is_planned_round_) overlap_.hidden += arena->epochs().time_helped();
  return true;
}

GradientExchange::Outcome GradientExchange::outcome_of_epoch() const {
  Outcome outcome;
  if (epoch_outcome_.state == EpochState::failed) {
    outcome.status = arena_->rounds().failure_of(epoch_outcome_);
  } else if (epoch_outcome_.state == EpochState::dropped) {
    outcome.failed_backwards = arena_->epochs().void_ranks();
  }
  outcome.step_has_begun = epoch_outcome_.has_begun;
  outcome.another_round_follows = epoch_outcome_.leaves || epoch_outcome_.has_more;
  return outcome;
}

void GradientExchange::take_over_slot(Gradient& gradient) {
  const auto index = static_cast<std::size_t>(&gradient - gradients_.data());
  if (!arena_->rounds().is_used_somewhere(index)) return;
  // What this rank had without producing it is in the result.
  if (!gradient.is_produced && !gradient.is_reduced && is_dense_like(gradient.kept, arena_->slot(index))) {
    gradient.kept.reset();
  }
  at::Tensor result = arena_->slot(index);
  if (gradient.value.defined()) {
    gradient.value.detach().copy_(result);
    result = gradient.value;
  }
  if (gradient.kept.defined()) {
    has_added_ = true;
    result = add_gradient(result, gradient.kept);
  }
  gradient.kept = result;
  gradient.is_reduced = true;
}

// --- the end of the steady state ---

// After the outcome. Negotiated rounds go on with close words, unless the words have ended too.
void GradientExchange::follow_epoch_outcome() {
  const bool is_over = epoch_outcome_.state == EpochState::failed || epoch_outcome_.is_gone;
  if (epoch_outcome_.leaves && is_planned_round_) {
    regular_rounds_to_open_ = std::min(2 * regular_rounds_to_open_, kMostRoundsToOpen);
  }
  if (is_over) {
    drop_arena();
  } else {
    arena_->begin_epoch();
  }
}

// A rank that was given up may still write into the arena: nobody may see it there.
void GradientExchange::drop_arena() {
  if (!arena_) return;
  arena_->let_go();
  for (std::size_t i = 0; i < gradients_.size(); ++i) {
    Gradient& gradient = gradients_[i];
    if (arena_->contains(gradient.kept)) gradient.kept = contiguous_copy(gradient.kept);
  }
  arena_.reset();
  norm_ = {};
}

void GradientExchange::end_join() {
  const std::lock_guard lock(mutex_);
  rounds_at_step_ = rounds_;
  // Of the last rounds ranks have seen different ones.
  regular_rounds_ = 0;
  regular_rounds_to_open_ = 1;
}

void GradientExchange::check_idle() const {
  const std::lock_guard lock(mutex_);
  if (open_backwards_.empty() && closer_ == kNobody) return;
  throw std::logic_error(
      text("rank ", context_->rank(), ": hvd::join() while a backward runs: call it after"));
}

void GradientExchange::withdraw() {
  Lock lock(mutex_);
  settle_locked(lock);
  if (!arena_) return;
  const std::shared_ptr<GradientArena> arena = arena_;
  drop_arena();
  std::fill_n(arena->epochs().payload(), arena->epochs().plan().payload_bytes, std::byte{0});
  CloseWord word;
  word.is_gone = true;
  arena->epochs().close(word);
}

}  // namespace hvd
