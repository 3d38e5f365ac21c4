// The binding's points of contact with autograd: a hook on each parameter, and a call at the end of backward.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

namespace hvd {

class GradientExchange;

// From now on exchange->on_gradient(index) runs when the parameter's gradient is complete, after the hook
// that was there before: autograd has one slot a parameter.
void install_gradient_hook(const at::Tensor& parameter, std::weak_ptr<GradientExchange> exchange,
                           std::size_t index);
// Whether the slot holds a hook of a DistributedOptimizer that is still alive.
bool has_gradient_hook(const at::Tensor& parameter);
// Puts the earlier hook back, if the slot still holds that of `exchange`.
// Otherwise ours stays where it is and does nothing.
void remove_gradient_hook(const at::Tensor& parameter, const GradientExchange* exchange);

// Identifies the running backward. Only inside a hook.
int current_graph_task();
// Only inside a hook. exchange->on_backward_end(graph_task) runs on the thread that ends this backward, and
// may throw out of it; if backward throws instead, exchange->on_backward_death(graph_task) runs before the
// exception reaches the caller.
void call_at_end_of_backward(std::shared_ptr<GradientExchange> exchange, int graph_task);

}  // namespace hvd
