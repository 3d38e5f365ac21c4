// Small non-negative whole numbers and halves in every element type, written from the formats' definitions.
#pragma once

#include <cmath>
#include <cstring>
#include <span>

#include "horovod_cpp/base/types.h"
#include "horovod_cpp/base/wire.h"

namespace hvd {

struct SmallFormat {
  int mantissa_bits;
  int bias;
};

// `value` must be exact in the type.
inline Bytes encode_number(double value, DataType dtype) {
  const auto as = [](auto number) {
    const auto bytes = std::as_bytes(std::span(&number, 1));
    return Bytes(bytes.begin(), bytes.end());
  };
  const auto as_small = [&](SmallFormat format) {
    if (value == 0) return 0U;
    const int exponent = std::ilogb(value);
    const double fraction = std::ldexp(value, -exponent) - 1.0;
    return (static_cast<unsigned>(exponent + format.bias) << format.mantissa_bits) +
           static_cast<unsigned>(std::ldexp(fraction, format.mantissa_bits));
  };
  switch (dtype) {
    case DataType::uint8:
    case DataType::boolean:
      return as(static_cast<std::uint8_t>(value));
    case DataType::int8:
      return as(static_cast<std::int8_t>(value));
    case DataType::uint16:
      return as(static_cast<std::uint16_t>(value));
    case DataType::int16:
      return as(static_cast<std::int16_t>(value));
    case DataType::int32:
      return as(static_cast<std::int32_t>(value));
    case DataType::uint32:
      return as(static_cast<std::uint32_t>(value));
    case DataType::int64:
      return as(static_cast<std::int64_t>(value));
    case DataType::uint64:
      return as(static_cast<std::uint64_t>(value));
    case DataType::float16:
      return as(static_cast<std::uint16_t>(as_small({10, 15})));
    case DataType::bfloat16:
      return as(static_cast<std::uint16_t>(as_small({7, 127})));
    case DataType::float8_e4m3:
      return as(static_cast<std::uint8_t>(as_small({3, 7})));
    case DataType::float8_e5m2:
      return as(static_cast<std::uint8_t>(as_small({2, 15})));
    case DataType::float64:
      return as(value);
    case DataType::float32:
      break;
  }
  return as(static_cast<float>(value));
}

}  // namespace hvd
