#include "bindings/torch/exchanges.h"

#include <mutex>

#include "bindings/torch/gradient_exchange.h"

namespace hvd {
namespace {

struct Known {
  const Context* context;
  std::weak_ptr<GradientExchange> exchange;
};

struct Registry {
  std::mutex mutex;
  std::vector<Known> all;
};

// Never destroyed: threads of a program that leaves main may still run backward.
Registry& registry() {
  static auto* const the_registry = new Registry;
  return *the_registry;
}

}  // namespace

void remember_exchange(const Context* context, const std::weak_ptr<GradientExchange>& exchange) {
  Registry& known = registry();
  const std::lock_guard lock(known.mutex);
  std::erase_if(known.all, [](const Known& one) { return one.exchange.expired(); });
  known.all.push_back({context, exchange});
}

std::vector<std::shared_ptr<GradientExchange>> exchanges_of(const Context* context) {
  std::vector<std::shared_ptr<GradientExchange>> found;
  Registry& known = registry();
  const std::lock_guard lock(known.mutex);
  for (const Known& one : known.all) {
    if (one.context != context) continue;
    if (auto exchange = one.exchange.lock()) found.push_back(std::move(exchange));
  }
  return found;
}

}  // namespace hvd
