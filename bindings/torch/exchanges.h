// Which exchanges there are in this process: a backward may go through the parameters of several.
#pragma once

#include <memory>
#include <vector>

namespace hvd {

class Context;
class GradientExchange;

// Both may be called from any thread. What has been destroyed is forgotten.
void remember_exchange(const Context* context, const std::weak_ptr<GradientExchange>& exchange);
std::vector<std::shared_ptr<GradientExchange>> exchanges_of(const Context* context);

}  // namespace hvd
