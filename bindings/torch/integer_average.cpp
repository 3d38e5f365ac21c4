#include "bindings/torch/integer_average.h"

#include <cstdint>

namespace hvd {
namespace {

template <class T>
void divide(void* values, std::size_t count, int divisor) {
  auto* const first = static_cast<T*>(values);
  // A divisor above the largest value (300 ranks of uint8) has to divide as itself, not wrapped.
  for (std::size_t i = 0; i < count; ++i) {
    if constexpr (sizeof(T) == sizeof(std::uint64_t)) {
      first[i] = first[i] / static_cast<T>(divisor);
    } else {
      first[i] = static_cast<T>(static_cast<std::int64_t>(first[i]) / divisor);
    }
  }
}

using Divide = void (*)(void*, std::size_t, int);

Divide division_of(DataType dtype) {
  switch (dtype) {
    case DataType::uint8:
      return divide<std::uint8_t>;
    case DataType::int8:
      return divide<std::int8_t>;
    case DataType::uint16:
      return divide<std::uint16_t>;
    case DataType::int16:
      return divide<std::int16_t>;
    case DataType::uint32:
      return divide<std::uint32_t>;
    case DataType::int32:
      return divide<std::int32_t>;
    case DataType::uint64:
      return divide<std::uint64_t>;
    case DataType::int64:
      return divide<std::int64_t>;
    default:
      return nullptr;
  }
}

}  // namespace

bool is_integer(DataType dtype) { return division_of(dtype) != nullptr; }

void divide_in_place(void* values, std::size_t count, DataType dtype, int divisor) {
  if (const Divide division = division_of(dtype)) division(values, count, divisor);
}

}  // namespace hvd
