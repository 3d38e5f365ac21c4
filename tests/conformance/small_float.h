// The 16- and 8-bit float formats from their definitions,
// in double precision and by search: slow, and plain enough to believe.
#pragma once

#include <optional>

#include "horovod_cpp/base/types.h"

namespace hvd {

struct SmallFloat {
  int exponent_bits, mantissa_bits;
  bool has_infinity;  // the largest exponent means infinity and NaN; otherwise only all ones is NaN
  bool saturates;     // finite values that are too large become the largest

  // Nothing for the types that are none.
  static std::optional<SmallFloat> of(DataType dtype);

  int bits_without_sign() const { return exponent_bits + mantissa_bits; }
  double decode(unsigned code) const;
  // To nearest, ties to even. Always the same NaN.
  unsigned encode(double value) const;
};

}  // namespace hvd
