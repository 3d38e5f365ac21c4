#include "horovod_cpp/torch/parameters.h"

#include <exception>
#include <vector>

namespace hvd {

void broadcast_tensors(const NamedTensors& tensors, int root, const BroadcastOptions& options) {
  std::vector<Handle> handles;
  std::exception_ptr first_failure;
  const auto keep_first_failure = [&](const auto& attempt) {
    try {
      attempt();
    } catch (...) {
      if (!first_failure) first_failure = std::current_exception();
    }
  };
  // A failed tensor must not keep this rank from the others: the other ranks wait for them.
  for (const auto& item : tensors) {
    if (!item.value().defined()) continue;
    keep_first_failure([&] {
      BroadcastOptions one = options;
      one.name += item.key();
      handles.push_back(broadcast_async_(item.value(), root, one));
    });
  }
  for (Handle& handle : handles) keep_first_failure([&] { handle.wait(); });
  if (first_failure) std::rethrow_exception(first_failure);
}

}  // namespace hvd
