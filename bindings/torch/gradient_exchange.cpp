// What a GradientExchange is made of, and what autograd tells it.
#include "bindings/torch/gradient_exchange.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "bindings/torch/exchanges.h"
#include "bindings/torch/gradient_hook.h"
#include "bindings/torch/model_agreement.h"
#include "bindings/torch/sparse_rows.h"
#include "bindings/torch/tensor_facts.h"
#include "horovod_cpp/base/log.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {

std::shared_ptr<GradientExchange> GradientExchange::create(std::shared_ptr<Context> context,
                                                           std::vector<NamedParameter> parameters,
                                                           ExchangeOptions options) {
  std::shared_ptr<GradientExchange> exchange(new GradientExchange(std::move(context), std::move(options)));
  check_same_options(exchange->options_.facts, exchange->name_of_operation("agreement on options"),
                     exchange->context_);
  exchange->add(std::move(parameters));
  remember_exchange(&exchange->context_->whole(), exchange);
  return exchange;
}

GradientExchange::GradientExchange(std::shared_ptr<Context> context, ExchangeOptions options)
    : context_(std::move(context)),
      options_(std::move(options)),
      number_(context_->take_optimizer_number()),
      groups_(0, {}),
      accumulation_(options_.passes_per_round),
      facts_(0) {}

std::vector<GradientExchange::Gradient> GradientExchange::gradients_of(
    std::vector<NamedParameter> parameters) {
  std::vector<Gradient> gradients;
  gradients.reserve(parameters.size());
  for (NamedParameter& parameter : parameters) {
    Gradient gradient;
    gradient.name = std::move(parameter.name);
    gradient.parameter = std::move(parameter.tensor);
    gradients.push_back(std::move(gradient));
  }
  return gradients;
}

void GradientExchange::add(std::vector<NamedParameter> parameters) {
  Lock lock(mutex_);
  settle_locked(lock);
  std::vector<Gradient> added = gradients_of(std::move(parameters));
  check_agreement(added);
  check_hooks(added);
  const std::size_t before = gradients_.size();
  std::move(added.begin(), added.end(), std::back_inserter(gradients_));
  // Ranks are between two rounds, and nobody reduces.
  arena_.reset();
  norm_ = {};
  rebuild_plans();
  facts_ = RoundFacts(gradients_.size());
  facts_id_ = {};
  for (std::size_t i = before; i < gradients_.size(); ++i) {
    install_gradient_hook(gradients_[i].parameter, weak_from_this(), i);
  }
}

void GradientExchange::check_agreement(const std::vector<Gradient>& gradients) const {
  if (context_->size() == 1) return;
  std::vector<std::string> lines;
  for (const Gradient& gradient : gradients) {
    lines.push_back(text(gradient.name, ' ', c10::toString(gradient.parameter.scalar_type()), ' ',
                         name_of(shape_of(gradient.parameter))));
  }
  check_same_model(lines, name_of_operation("agreement"), context_);
}

void GradientExchange::check_hooks(const std::vector<Gradient>& gradients) const {
  for (const Gradient& gradient : gradients) {
    if (!has_gradient_hook(gradient.parameter)) continue;
    throw std::invalid_argument(text(name_of_caller(), "parameter '", gradient.name,
                                     "' already belongs to a DistributedOptimizer: destroy that one first"));
  }
}

bool GradientExchange::has(const at::Tensor& parameter) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(gradients_.begin(), gradients_.end(), [&](const Gradient& gradient) {
    return gradient.parameter.unsafeGetTensorImpl() == parameter.unsafeGetTensorImpl();
  });
}

bool GradientExchange::has_any_of(const std::unordered_set<const c10::TensorImpl*>& parameters) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(gradients_.begin(), gradients_.end(), [&](const Gradient& gradient) {
    return parameters.contains(gradient.parameter.unsafeGetTensorImpl());
  });
}

std::vector<std::shared_ptr<GradientExchange>> GradientExchange::exchanges_of_context() const {
  return exchanges_of(&context_->whole());
}

std::size_t GradientExchange::parameter_count() const {
  const std::lock_guard lock(mutex_);
  return gradients_.size();
}

void GradientExchange::detach() {
  const std::lock_guard lock(mutex_);
  is_detached_ = true;
  if (arena_ && context_->is_owner()) {
    arena_->epochs().leave(
        Status::shut_down(text("rank ", context_->rank(), " has destroyed its DistributedOptimizer")));
  }
  for (const Gradient& gradient : gradients_) remove_gradient_hook(gradient.parameter, this);
}

std::string GradientExchange::name_of_caller() const {
  return text("rank ", context_->rank(), ", DistributedOptimizer: ");
}

std::string GradientExchange::name_of_operation(const std::string& what) const {
  return text(what, " (optimizer ", number_, ')');
}

// --- from autograd ---

void GradientExchange::on_backward_reaching() {
  if (is_idle()) return;
  Lock lock(mutex_);
  if (is_detached_) return;
  settle_locked(lock);
  watch_this_backward();
}

// Autograd locks the accumulation but not the hook after it: without this, another thread would accumulate into what was just taken.
void GradientExchange::on_gradient_coming(std::size_t index) {
  if (is_idle()) return;
  Lock lock(mutex_);
  if (is_detached_) return;
  settle_locked(lock);
  watch_this_backward();
  const auto thread = std::this_thread::get_id();
  // One that never came: somebody's hook has thrown it away.
  end_arrivals([&](const Arrival& arrival) { return arrival.thread == thread; });
  arrival_ended_.wait(lock, [&] {
    return std::none_of(arrivals_.begin(), arrivals_.end(),
                        [&](const Arrival& arrival) { return arrival.index == index; });
  });
  arrivals_.push_back({thread, current_graph_task(), index});
}

template <class IsOver>
void GradientExchange::end_arrivals(IsOver&& is_over) {
  if (std::erase_if(arrivals_, is_over) > 0) arrival_ended_.notify_all();
}

void GradientExchange::on_gradient(std::size_t index) {
  if (is_idle()) return;
  SlotLender::pause_window();
  Lock lock(mutex_);
  if (is_detached_) return;
  const at::NoGradGuard no_grad;
  Gradient& gradient = gradients_[index];
  const auto refuse = [&](const char* what) {
    throw std::invalid_argument(
        text("rank ", context_->rank(), ", gradient of '", gradient.name, "': ", what));
  };
  settle_locked(lock);
  watch_this_backward();
  // Without announcement it has been added to what keep_gradients() has kept by now.
  const bool is_merged = !gradient.parameter.grad().defined();
  at::Tensor piece;
  std::swap(piece, is_merged ? gradient.kept : gradient.parameter.mutable_grad());
  if (is_merged && gradient.is_reduced) {
    refuse(
        "it was added to an average already, because register_hook() in C++ has thrown away what was there: "
        "call it before the "
        "DistributedOptimizer is constructed, or zero_grad() of the DistributedOptimizer before each "
        "backward");
  }
  if (piece.layout() == c10::kSparse && !is_sparse_rows(piece)) piece = piece.to_dense();
  const bool is_dense = piece.layout() == c10::kStrided;
  if (!is_dense && piece.layout() != c10::kSparse) {
    refuse("its layout is neither dense nor sparse (COO), and no other can be reduced");
  }
  // Autograd takes over an incoming gradient without looking who else holds its storage: a view of what backward still reads, or of
  // another parameter's gradient. A hook before ours may keep p.grad itself.
  const bool is_shared = is_dense && (piece.use_count() > 1 || piece.storage().use_count() > 1);
  gradient.is_alone = !is_merged && !is_shared && !piece.requires_grad();
  if (is_local(current_graph_task())) {
    keep_piece(gradient, piece, is_shared);
  } else {
    take(gradient, piece, is_shared);
  }
  gradient.is_alone = false;
  end_arrivals([](const Arrival& arrival) { return arrival.thread == std::this_thread::get_id(); });
  if (!has_plan()) return;
  const std::shared_ptr<GradientArena> arena = arena_;
  if (!is_local(current_graph_task())) {
    arena->foresee_after(index, [this](std::size_t i) { return !gradients_[i].is_produced; });
  }
  lock.unlock();
  arena->epochs().help();
}

bool GradientExchange::is_open(int graph_task) const {
  return std::any_of(open_backwards_.begin(), open_backwards_.end(),
                     [graph_task](const OpenBackward& open) { return open.graph_task == graph_task; });
}

void GradientExchange::watch_this_backward() {
  const int graph_task = current_graph_task();
  if (is_open(graph_task)) return;
  open_backward(accumulation_.begin_pass());
}

void GradientExchange::open_backward(bool is_local) {
  const int graph_task = current_graph_task();
  call_at_end_of_backward(shared_from_this(), graph_task);
  open_backwards_.push_back({graph_task, false, is_local});
  keep_gradients();
}

void GradientExchange::on_backward_inside_another(int graph_task, bool ended_well) noexcept {
  bool is_handed_over = false;
  try {
    const std::lock_guard lock(mutex_);
    const auto inner = std::find_if(open_backwards_.begin(), open_backwards_.end(),
                                    [&](const OpenBackward& open) { return open.graph_task == graph_task; });
    if (inner == open_backwards_.end()) return;
    const bool has_failed = inner->has_failed || !ended_well;
    end_arrivals([&](const Arrival& arrival) { return arrival.graph_task == graph_task; });
    // Both are one pass.
    if (const bool is_local = inner->is_local; !is_open(current_graph_task())) open_backward(is_local);
    for (OpenBackward& open : open_backwards_) {
      if (open.graph_task == current_graph_task() && has_failed) open.has_failed = true;
    }
    std::erase_if(open_backwards_, [&](const OpenBackward& open) { return open.graph_task == graph_task; });
    is_handed_over = true;
  } catch (const std::exception& error) {
    Log(LogLevel::error, context_->rank())
        .error(text("a backward inside another one could not be followed: ", error.what()));
  }
  if (!is_handed_over) on_backward_death(graph_task);
}

void GradientExchange::on_backward_death(int graph_task) noexcept {
  SlotLender::close_window();
  try {
    const std::lock_guard lock(mutex_);
    const at::NoGradGuard no_grad;
    end_arrivals([&](const Arrival& arrival) { return arrival.graph_task == graph_task; });
    if (closer_ == graph_task) {
      // What threw was a final callback of somebody else. This rank has promised its part of the round; the next call ends it.
      if (phase_ == Phase::open) begin_close();
      closer_ = kNobody;
      round_ended_.notify_all();
      return;
    }
    if (is_local(graph_task)) return end_local_backward(graph_task, /*has_failed=*/true);
    const auto is_this = [&](const OpenBackward& open) { return open.graph_task == graph_task; };
    if (std::erase_if(open_backwards_, is_this) == 0) return;
    if (closer_ == kNobody && phase_ == Phase::open) return close_failed_round();
    ++deaths_to_close_;
  } catch (const std::exception& error) {
    // Another exception is on its way; the next call finds the round unsettled.
    Log(LogLevel::error, context_->rank())
        .error(text("a failed backward could not be closed: ", error.what()));
  }
}

bool GradientExchange::advance_close(int graph_task, std::chrono::milliseconds patience) {
  SlotLender::close_window();
  Lock lock(mutex_);
  const at::NoGradGuard no_grad;
  const auto is_this = [&](const OpenBackward& open) { return open.graph_task == graph_task; };
  end_arrivals([&](const Arrival& arrival) { return arrival.graph_task == graph_task; });
  if (is_local(graph_task)) {
    const auto local = std::find_if(open_backwards_.begin(), open_backwards_.end(), is_this);
    end_local_backward(graph_task, local->has_failed);
    return true;
  }
  try {
    if (closer_ == kNobody) settle_locked(lock);
    if (closer_ != graph_task && closer_ != kNobody) {
      round_ended_.wait_for(lock, patience);
      return false;
    }
    const auto open = std::find_if(open_backwards_.begin(), open_backwards_.end(), is_this);
    if (open != open_backwards_.end()) {
      const bool has_failed = open->has_failed || a_local_backward_failed_;
      open_backwards_.erase(open);
      if (has_failed) {
        close_failed_round();
        return true;
      }
      closer_ = graph_task;
    }
    return advance(lock, Deadline::after(patience));
  } catch (...) {
    std::erase_if(open_backwards_, is_this);
    if (open_backwards_.empty() && closer_ == kNobody) give_gradients_back();
    throw;
  }
}

}  // namespace hvd
