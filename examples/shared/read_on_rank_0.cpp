#include "examples/shared/read_on_rank_0.h"

#include <ATen/Functions.h>
#include <horovod_cpp/torch/collectives.h>

#include <exception>
#include <stdexcept>

namespace examples {

std::string read_on_rank_0(const std::function<std::string()>& read) {
  std::string bytes;
  bool has_failed = false;
  if (hvd::rank() == 0) {
    try {
      bytes = read();
    } catch (const std::exception& failure) {
      bytes = failure.what();
      has_failed = true;
    }
  }
  const auto facts = at::empty({2}, at::kLong);  // failed?, bytes
  facts[0] = static_cast<std::int64_t>(has_failed);
  facts[1] = static_cast<std::int64_t>(bytes.size());
  hvd::broadcast_(facts, 0);
  bytes.resize(static_cast<std::size_t>(facts[1].item<std::int64_t>()));
  hvd::broadcast_(at::from_blob(bytes.data(), {facts[1].item<std::int64_t>()}, at::kByte), 0);
  if (facts[0].item<std::int64_t>() != 0) throw std::runtime_error(bytes);
  return bytes;
}

}  // namespace examples
