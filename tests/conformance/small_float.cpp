#include "tests/conformance/small_float.h"

#include <cmath>

namespace hvd {

std::optional<SmallFloat> SmallFloat::of(DataType dtype) {
  switch (dtype) {
    case DataType::float16:
      return SmallFloat{5, 10, true, false};
    case DataType::bfloat16:
      return SmallFloat{8, 7, true, false};
    case DataType::float8_e4m3:
      return SmallFloat{4, 3, false, true};
    case DataType::float8_e5m2:
      return SmallFloat{5, 2, true, true};
    default:
      return std::nullopt;
  }
}

double SmallFloat::decode(unsigned code) const {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const unsigned exponent = (code >> mantissa_bits) & ((1U << exponent_bits) - 1);
  const unsigned mantissa = code & ((1U << mantissa_bits) - 1);
  const double sign = ((code >> bits_without_sign()) & 1) != 0 ? -1.0 : 1.0;
  const bool top = exponent == (1U << exponent_bits) - 1;
  if (has_infinity && top) return mantissa == 0 ? sign * INFINITY : NAN;
  if (!has_infinity && top && mantissa == (1U << mantissa_bits) - 1) return NAN;
  const double fraction = std::ldexp(mantissa, -mantissa_bits);
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias);
  return sign * std::ldexp(1 + fraction, static_cast<int>(exponent) - bias);
}

unsigned SmallFloat::encode(double value) const {
  const unsigned sign = std::signbit(value) ? 1U << bits_without_sign() : 0;
  const double magnitude = std::fabs(value);
  const unsigned top = ((1U << exponent_bits) - 1) << mantissa_bits;
  const unsigned nan = has_infinity ? top | (1U << (mantissa_bits - 1)) : (1U << bits_without_sign()) - 1;
  const unsigned largest = has_infinity ? top - 1 : nan - 1;
  if (std::isnan(value)) return nan;
  if (has_infinity && std::isinf(value)) return sign | top;

  unsigned low = 0, high = largest;  // the greatest code whose value is at most `magnitude` lies within
  while (low < high) {
    const unsigned middle = (low + high + 1) / 2;
    if (decode(middle) <= magnitude) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  if (low == largest) {
    // Overflow begins half a step beyond the largest.
    const double limit = decode(largest) + (decode(largest) - decode(largest - 1)) / 2;
    return sign | (magnitude >= limit && !saturates ? top : largest);
  }
  const double below = magnitude - decode(low), above = decode(low + 1) - magnitude;
  const bool up = above < below || (above == below && (low & 1) != 0);
  return sign | (low + (up ? 1 : 0));
}

}  // namespace hvd
