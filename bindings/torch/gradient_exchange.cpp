#include "bindings/torch/gradient_exchange.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "bindings/torch/device_order.h"
#include "bindings/torch/gradient_hook.h"
#include "bindings/torch/model_agreement.h"
#include "bindings/torch/tensor_facts.h"
#include "horovod_cpp/base/log.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/torch/collectives.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {
std::shared_ptr<GradientExchange> GradientExchange::create(std::shared_ptr<Context> context,
                                                           std::vector<NamedParameter> parameters,
                                                           ExchangeOptions options) {
  std::shared_ptr<GradientExchange> exchange(
      new GradientExchange(std::move(context), std::move(parameters), std::move(options)));
  exchange->check_agreement();
  exchange->install_hooks();
  return exchange;
}

GradientExchange::GradientExchange(std::shared_ptr<Context> context, std::vector<NamedParameter> parameters,
                                   ExchangeOptions options)
    : context_(std::move(context)),
      options_(std::move(options)),
      number_(context_->take_optimizer_number()),
      groups_(parameters.size(), options_.groups),
      accumulation_(options_.passes_per_round),
      facts_(parameters.size()) {
  if (options_.hook && context_->size() > 1) {
    buckets_ = std::make_unique<BucketRound>(
        BucketRound::Parts{context_, options_.hook, options_.reduction, parameters,
                           [this](std::size_t i) { return dense_gradient(i); }, options_.groups,
                           options_.bucket_bytes, name_of_operation("")});
  }
  gradients_.reserve(parameters.size());
  for (NamedParameter& parameter : parameters) {
    Gradient gradient;
    gradient.name = std::move(parameter.name);
    gradient.parameter = std::move(parameter.tensor);
    gradients_.push_back(std::move(gradient));
  }
}

void GradientExchange::check_agreement() const {
  check_same_options(options_.facts, name_of_operation("agreement on options"), context_);
  std::vector<std::string> lines;
  for (const Gradient& gradient : gradients_) {
    lines.push_back(text(gradient.name, ' ', c10::toString(gradient.parameter.scalar_type()), ' ',
                         name_of(shape_of(gradient.parameter))));
  }
  check_same_model(lines, name_of_operation("agreement"), context_);
}

void GradientExchange::install_hooks() {
  for (const Gradient& gradient : gradients_) {
    if (!has_gradient_hook(gradient.parameter)) continue;
    throw std::invalid_argument(text("rank ", context_->rank(), ": parameter '", gradient.name,
                                     "' already belongs to a DistributedOptimizer: destroy that one first"));
  }
  for (std::size_t i = 0; i < gradients_.size(); ++i) {
    install_gradient_hook(gradients_[i].parameter, weak_from_this(), i);
  }
}

void GradientExchange::detach() {
  const std::lock_guard lock(mutex_);
  is_detached_ = true;
  for (const Gradient& gradient : gradients_) remove_gradient_hook(gradient.parameter, this);
}

std::string GradientExchange::name_of_operation(const std::string& what) const {
  return text(what, " (optimizer ", number_, ')');
}

// --- from autograd ---

void GradientExchange::on_gradient(std::size_t index) {
  if (is_idle()) return;
  const std::lock_guard lock(mutex_);
  if (is_detached_) return;
  const at::NoGradGuard no_grad;
  settle_locked();
  Gradient& gradient = gradients_[index];
  const auto refuse = [&](const char* what) {
    throw std::invalid_argument(
        text("rank ", context_->rank(), ", gradient of '", gradient.name, "': ", what));
  };
  if (has_sums_ && open_backwards_.empty()) {
    refuse(
        "op Sum or average_aggregated_gradients, and a further backward after gradients were reduced would "
        "reduce them twice: call zero_grad() of the DistributedOptimizer before, or use Average without it");
  }
  if (open_backwards_.empty()) accumulation_.begin_pass();
  watch_this_backward();
  if (accumulation_.is_local()) {
    gradient.is_kept = true;
    return;
  }
  if (gradient.is_produced && (!buckets_ || buckets_->has_started(index))) {
    refuse(
        "it arrived twice in one backward (re-entrant checkpointing, or two threads): this is not supported "
        "yet");
  }
  const at::Tensor& value = gradient.parameter.grad();
  if (value.layout() != c10::kStrided) {
    refuse("it is sparse, and only dense gradients can be averaged: use an embedding with sparse = false");
  }
  gradient.is_produced = true;
  if (buckets_) return buckets_->arrive(index);
  // Autograd takes over an incoming gradient without looking who else holds its storage: a view of what backward still reads, or of
  // another parameter's gradient. Here p.grad holds it, and usually autograd's own reference that is about to go.
  gradient.is_shared = value.storage().use_count() > 2;
  const at::Tensor memory = value.detach();
  const bool is_copy = gradient.is_shared || !is_plain_memory(memory);
  gradient.memory = is_copy ? contiguous_copy(memory) : memory;
  gradient.is_copy = is_copy;
  submit(groups_.arrive(index));
}

void GradientExchange::watch_this_backward() {
  const int graph_task = current_graph_task();
  if (std::find(open_backwards_.begin(), open_backwards_.end(), graph_task) != open_backwards_.end()) return;
  call_at_end_of_backward(shared_from_this(), graph_task);
  open_backwards_.push_back(graph_task);
}

void GradientExchange::on_backward_end(int graph_task) {
  const std::lock_guard lock(mutex_);
  const at::NoGradGuard no_grad;
  std::erase(open_backwards_, graph_task);
  if (!open_backwards_.empty() || end_local_pass()) return;
  if (a_backward_died_) return close_failed_round();
  close_round();
}

void GradientExchange::on_backward_death(int graph_task) noexcept {
  try {
    const std::lock_guard lock(mutex_);
    if (std::erase(open_backwards_, graph_task) == 0) return;
    const at::NoGradGuard no_grad;
    a_backward_died_ = true;
    if (open_backwards_.empty() && !end_local_pass()) close_failed_round();
  } catch (const std::exception& error) {
    // Another exception is on its way; the next call finds the round unsettled.
    Log(LogLevel::error, context_->rank())
        .error(text("a failed backward could not be closed: ", error.what()));
  }
}

// --- a round ---

template <class Submit>
void GradientExchange::submit_or_end_session(Submit&& submit) {
  try {
    submit();
  } catch (const std::exception& error) {
    // The other ranks wait for what could not be submitted.
    context_->session().abort(
        Status::aborted(text("rank ", context_->rank(),
                             ": gradients could not be submitted at the end of backward: ", error.what())));
    end_round();
    throw;
  }
}

void GradientExchange::close_round() {
  const std::int64_t round = rounds_ - rounds_at_step_;
  produce_kept_gradients();
  if (buckets_) finish_buckets();
  submit_or_end_session([&] { submit_facts(false); });
  const Status facts_status = facts_work_.wait();
  const int failures = facts_status.is_ok() ? facts_.failed_backwards() : 0;
  if (facts_status.is_ok()) {
    submit_or_end_session([&] {
      if (!buckets_)
        return submit_rest([&](std::size_t i) { return failures > 0 || facts_.is_used_somewhere(i); });
      if (failures > 0) buckets_->give_up();
    });
  }
  const Status status = wait_for_gradients();
  const bool same_round = !facts_status.is_ok() || facts_.all_in_same_round(context_->size());
  if (facts_status.is_ok() && status.is_ok() && failures == 0 && same_round) take_over_results();
  end_round();
  if (!facts_status.is_ok()) drop_step(facts_status);
  if (!status.is_ok()) drop_step(status);
  if (!same_round) {
    drop_step(Status::mismatch(
        text("rank ", context_->rank(), ": this was its backward number ", round + 1,
             " since the last step(), but other ranks are at another one, so steps are mixed up and "
             "parameters may differ. "
             "Take the same number of backwards a step on every rank, and restart from a checkpoint.")));
  }
  if (failures > 0) {
    step_is_dropped_ = true;
    throw StepDiscarded(Status::aborted(
        text("rank ", context_->rank(), ": backward threw on ", failures,
             " other rank(s), so this step is dropped on all ranks. The cause is in the output "
             "of that rank; training can go on with the next step.")));
  }
}

void GradientExchange::close_failed_round() {
  is_unsettled_ = true;
  submit_or_end_session([&] {
    if (buckets_) {
      buckets_->give_up();
    } else {
      submit_rest([](std::size_t) { return true; });
    }
    for (Gradient& gradient : gradients_) gradient.is_produced = false;
    submit_facts(true);
  });
}

void GradientExchange::settle_locked() {
  if (!is_unsettled_) return;
  Status status =
      facts_work_.is_valid()
          ? facts_work_.wait()
          : Status::internal(text("rank ", context_->rank(), ": a failed backward could not be closed"));
  const Status gradients = wait_for_gradients();
  if (status.is_ok()) status = gradients;
  end_round();
  step_is_dropped_ = true;
  if (!status.is_ok()) drop_step(status);
}

Status GradientExchange::wait_for_gradients() {
  if (buckets_) buckets_->wait_for_all();
  Status first_failure;
  for (const Gradient& gradient : gradients_) {
    if (!gradient.work.is_valid()) continue;
    const Status status = gradient.work.wait();
    if (first_failure.is_ok() && !status.is_ok()) first_failure = status;
  }
  return first_failure;
}

void GradientExchange::take_over_results() {
  if (buckets_) take_over_buckets();
  for (Gradient& gradient : gradients_) {
    if (!gradient.work.is_valid()) continue;
    let_current_stream_wait(gradient.work.completion(), gradient.memory.device());
    if (!gradient.is_copy) continue;
    at::Tensor& value = gradient.parameter.mutable_grad();
    if (value.defined() && !gradient.is_shared) {
      value.detach().copy_(gradient.memory);
    } else {
      value = gradient.memory;
    }
  }
  has_sums_ = !options_.is_repeatable();
}

void GradientExchange::end_round() {
  for (Gradient& gradient : gradients_) {
    gradient.work = {};
    gradient.is_produced = false;
    gradient.is_kept = false;
    gradient.is_shared = false;
    gradient.memory.reset();
  }
  if (buckets_) buckets_->end();
  groups_.start_afresh();
  accumulation_.start_afresh();
  facts_work_ = {};
  is_unsettled_ = false;
  a_backward_died_ = false;
  ++rounds_;
}

void GradientExchange::drop_step(const Status& why) {
  step_is_dropped_ = true;
  throw_if_failed(why);
  throw InternalError(Status::internal("a step was dropped without a reason"));
}

}  // namespace hvd
