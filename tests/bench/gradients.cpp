#include "tests/bench/gradients.h"

#include <cmath>

#include "horovod_cpp/base/text.h"

namespace hvd::bench {
namespace {

std::size_t elements_of(const NamedShape& tensor) {
  return static_cast<std::size_t>(element_count(tensor.shape));
}

float common_part(std::size_t i, int round) {
  return static_cast<float>((i + 7 * static_cast<std::size_t>(round)) % 64);
}

}  // namespace

Gradients::Gradients(const Workload& workload, Layout layout) {
  if (layout == Layout::contiguous) {
    std::span<float> rest = storage_.emplace_back(workload.element_count());
    for (const auto& tensor : workload.tensors) {
      tensors_.push_back(rest.first(elements_of(tensor)));
      rest = rest.subspan(elements_of(tensor));
    }
  } else {
    for (const auto& tensor : workload.tensors)
      tensors_.emplace_back(storage_.emplace_back(elements_of(tensor)));
  }
}

void Gradients::fill(int rank, int round) {
  const float own = static_cast<float>(rank) * 0.5F;
  std::size_t i = 0;
  for (const auto tensor : tensors_) {
    for (float& value : tensor) value = common_part(i++, round) + own;
  }
}

Status Gradients::verify(int ranks, int round, double factor) const {
  const double own_parts = 0.25 * ranks * (ranks - 1);
  std::size_t i = 0;
  for (const auto tensor : tensors_) {
    for (const float value : tensor) {
      const double expected = factor * (ranks * static_cast<double>(common_part(i, round)) + own_parts);
      // Exact unless `factor` is not a power of two.
      if (!(std::abs(value - expected) <= 1e-6 * expected)) {
        return Status::internal(
            text("round ", round, ": element ", i, " is ", value, ", expected ", expected));
      }
      ++i;
    }
  }
  return {};
}

}  // namespace hvd::bench
