// The binding's points of contact with autograd: two hooks on each parameter, and a call at the end of backward.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

namespace hvd {

class GradientExchange;

// From now on, when backward has a gradient for the parameter,
// - exchange->on_gradient_coming() runs before it is accumulated into p.grad. Not for torch::autograd::grad().
// - exchange->on_gradient(index) runs when it has been, after the hook that was there before: autograd has one slot a parameter.
void install_gradient_hook(const at::Tensor& parameter, const std::weak_ptr<GradientExchange>& exchange,
                           std::size_t index);
// Puts the first of them back if it is gone: register_hook() in C++ throws away what it did not install.
void renew_gradient_hook(const at::Tensor& parameter, const std::weak_ptr<GradientExchange>& exchange);
// Whether the slot holds a hook of a DistributedOptimizer that is still alive.
bool has_gradient_hook(const at::Tensor& parameter);
// Puts the earlier hook back, if the slot still holds that of `exchange`.
// Otherwise ours stays where it is and does nothing.
void remove_gradient_hook(const at::Tensor& parameter, const GradientExchange* exchange);

// Identifies the running backward. Only inside a hook.
int current_graph_task();
// Only inside a hook. When this backward ends, exchange->advance_close(graph_task, …) is called on the thread that ends it, until it
// returns true; it may throw out of the backward. If backward throws instead, exchange->on_backward_death(graph_task) runs before the
// exception reaches the caller. If this backward runs inside another one (re-entrant checkpointing), then when it has ended, well or not,
// only exchange->on_backward_inside_another(graph_task, …) is called, with the other as current_graph_task().
void call_at_end_of_backward(std::shared_ptr<GradientExchange> exchange, int graph_task);

}  // namespace hvd
