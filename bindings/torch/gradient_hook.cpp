#include "bindings/torch/gradient_hook.h"

#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/graph_task.h>
#include <torch/csrc/autograd/variable.h>

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

// Held by autograd's list of final callbacks: it either runs, or is destroyed with the backward that threw.
class BackwardSentinel {
 public:
  BackwardSentinel(std::shared_ptr<GradientExchange> exchange, int graph_task)
      : exchange_(std::move(exchange)), graph_task_(graph_task) {}
  BackwardSentinel(const BackwardSentinel&) = delete;
  BackwardSentinel& operator=(const BackwardSentinel&) = delete;
  ~BackwardSentinel() {
    if (is_armed_) exchange_->on_backward_death(graph_task_);
  }

  void arm() { is_armed_ = true; }
  void run() {
    is_armed_ = false;
    exchange_->on_backward_end(graph_task_);
  }

 private:
  std::shared_ptr<GradientExchange> exchange_;
  int graph_task_;
  bool is_armed_ = false;
};

namespace {

GradientHook* hook_of(const at::Tensor& parameter) {
  return dynamic_cast<GradientHook*>(autograd::impl::post_acc_grad_hooks(parameter).get());
}

}  // namespace

void install_gradient_hook(const at::Tensor& parameter, std::weak_ptr<GradientExchange> exchange,
                           std::size_t index) {
  std::unique_ptr<autograd::PostAccumulateGradHook> earlier;
  if (autograd::impl::get_autograd_meta(parameter) != nullptr) {
    earlier = std::move(autograd::impl::post_acc_grad_hooks(parameter));
  }
  autograd::impl::set_post_acc_grad_hooks(
      parameter, std::make_unique<GradientHook>(std::move(exchange), index, std::move(earlier)));
}

bool has_gradient_hook(const at::Tensor& parameter) {
  if (autograd::impl::get_autograd_meta(parameter) == nullptr) return false;
  const GradientHook* hook = hook_of(parameter);
  return hook != nullptr && hook->exchange() != nullptr;
}

void remove_gradient_hook(const at::Tensor& parameter, const GradientExchange* exchange) {
  GradientHook* hook = hook_of(parameter);
  if (hook == nullptr || hook->exchange().get() != exchange) return;
  autograd::impl::post_acc_grad_hooks(parameter) = hook->take_earlier();
}

int current_graph_task() { return autograd::get_current_graph_task_id(); }

void call_at_end_of_backward(std::shared_ptr<GradientExchange> exchange, int graph_task) {
  auto sentinel = std::make_shared<BackwardSentinel>(std::move(exchange), graph_task);
  autograd::Engine::get_default_engine().queue_callback([sentinel] { sentinel->run(); });
  sentinel->arm();
}

}  // namespace hvd
