#include "bindings/torch/gradient_hook.h"

#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/graph_task.h>
#include <torch/csrc/autograd/node.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <chrono>

#include "bindings/torch/gradient_exchange.h"

namespace hvd {

namespace autograd = torch::autograd;

class GradientHook final : public autograd::PostAccumulateGradHook {
 public:
  GradientHook(std::weak_ptr<GradientExchange> exchange, std::size_t index,
               std::unique_ptr<autograd::PostAccumulateGradHook> earlier)
      : exchange_(std::move(exchange)), index_(index), earlier_(std::move(earlier)) {}

  void operator()(const autograd::Variable& parameter) override {
    if (earlier_) (*earlier_)(parameter);
    if (const auto exchange = exchange_.lock()) exchange->on_gradient(index_);
  }

  std::shared_ptr<GradientExchange> exchange() const { return exchange_.lock(); }
  std::unique_ptr<autograd::PostAccumulateGradHook> take_earlier() { return std::move(earlier_); }

 private:
  std::weak_ptr<GradientExchange> exchange_;
  std::size_t index_;
  std::unique_ptr<autograd::PostAccumulateGradHook> earlier_;
};

// Runs before accumulation, also where torch::autograd::grad() only wants the gradient and nothing is accumulated.
class ArrivalHook final : public autograd::FunctionPreHook {
 public:
  explicit ArrivalHook(std::weak_ptr<GradientExchange> exchange) : exchange_(std::move(exchange)) {}

  autograd::variable_list operator()(const autograd::variable_list& gradients) override {
    const auto exchange = exchange_.lock();
    if (exchange && gradients[0].defined() && is_accumulation()) exchange->on_gradient_coming();
    return gradients;
  }

  std::shared_ptr<GradientExchange> exchange() const { return exchange_.lock(); }

 private:
  static bool is_accumulation() {
    const auto* const wanted = autograd::get_current_graph_task_exec_info();
    if (wanted == nullptr || wanted->empty()) return true;
    const auto found = wanted->find(autograd::get_current_node().get());
    return found != wanted->end() && found->second.needed_;
  }

  std::weak_ptr<GradientExchange> exchange_;
};

// Held by autograd's list of final callbacks: it either runs, or is destroyed with the backward that threw. Autograd destroys that list when
// the backward is no longer the current one, but one that it ran inside of is again.
class BackwardSentinel : public std::enable_shared_from_this<BackwardSentinel> {
 public:
  BackwardSentinel(std::shared_ptr<GradientExchange> exchange, int graph_task)
      : exchange_(std::move(exchange)), graph_task_(graph_task) {}
  BackwardSentinel(const BackwardSentinel&) = delete;
  BackwardSentinel& operator=(const BackwardSentinel&) = delete;
  ~BackwardSentinel() {
    if (!is_armed_) return;
    if (autograd::get_current_graph_task_id() != -1) {
      exchange_->on_backward_inside_another(graph_task_, /*ended_well=*/has_run_);
    } else {
      exchange_->on_backward_death(graph_task_);
    }
  }

  void arm() { is_armed_ = true; }

  // Autograd calls it once for each time that it was queued, and the calls of several exchanges take turns.
  void run() {
    has_run_ = true;
    if (autograd::get_current_node() != nullptr) return;
    bool is_closed = true;
    try {
      is_closed = exchange_->advance_close(graph_task_, patience_);
    } catch (...) {
      is_armed_ = false;
      throw;
    }
    if (is_closed) {
      is_armed_ = false;
      return;
    }
    patience_ = std::min(2 * patience_, kMaxPatience);
    queue();
  }
  void queue() {
    autograd::Engine::get_default_engine().queue_callback([self = shared_from_this()] { self->run(); });
  }

 private:
  static constexpr std::chrono::milliseconds kMaxPatience{1000};

  std::shared_ptr<GradientExchange> exchange_;
  int graph_task_;
  bool is_armed_ = false;
  bool has_run_ = false;
  std::chrono::milliseconds patience_{10};
};

namespace {

GradientHook* hook_of(const at::Tensor& parameter) {
  return dynamic_cast<GradientHook*>(autograd::impl::post_acc_grad_hooks(parameter).get());
}

bool is_arrival_hook(const std::unique_ptr<autograd::FunctionPreHook>& hook) {
  return dynamic_cast<const ArrivalHook*>(hook.get()) != nullptr;
}

}  // namespace

void install_gradient_hook(const at::Tensor& parameter, const std::weak_ptr<GradientExchange>& exchange,
                           std::size_t index) {
  std::unique_ptr<autograd::PostAccumulateGradHook> earlier;
  if (autograd::impl::get_autograd_meta(parameter) != nullptr) {
    earlier = std::move(autograd::impl::post_acc_grad_hooks(parameter));
  }
  autograd::impl::set_post_acc_grad_hooks(
      parameter, std::make_unique<GradientHook>(exchange, index, std::move(earlier)));
  autograd::impl::add_hook(parameter, std::make_unique<ArrivalHook>(exchange));
}

void renew_gradient_hook(const at::Tensor& parameter, const std::weak_ptr<GradientExchange>& exchange) {
  const auto& hooks = autograd::impl::hooks(parameter);
  if (std::none_of(hooks.begin(), hooks.end(), [](const auto& hook) { return is_arrival_hook(hook); })) {
    autograd::impl::add_hook(parameter, std::make_unique<ArrivalHook>(exchange));
  }
}

bool has_gradient_hook(const at::Tensor& parameter) {
  if (autograd::impl::get_autograd_meta(parameter) == nullptr) return false;
  const GradientHook* hook = hook_of(parameter);
  return hook != nullptr && hook->exchange() != nullptr;
}

void remove_gradient_hook(const at::Tensor& parameter, const GradientExchange* exchange) {
  std::erase_if(autograd::impl::hooks(parameter), [exchange](const auto& hook) {
    return is_arrival_hook(hook) && static_cast<const ArrivalHook*>(hook.get())->exchange().get() == exchange;
  });
  GradientHook* hook = hook_of(parameter);
  if (hook == nullptr || hook->exchange().get() != exchange) return;
  autograd::impl::post_acc_grad_hooks(parameter) = hook->take_earlier();
}

int current_graph_task() { return autograd::get_current_graph_task_id(); }

void call_at_end_of_backward(std::shared_ptr<GradientExchange> exchange, int graph_task) {
  const auto sentinel = std::make_shared<BackwardSentinel>(std::move(exchange), graph_task);
  sentinel->queue();
  sentinel->arm();
}

}  // namespace hvd
