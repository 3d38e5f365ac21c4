// The 16- and 8-bit floating types to float32 and back, for backends that let somebody else add in float32.
//
// The same conversions as the kernels of reduce.h, bit for bit: to nearest even, NaN stays NaN, float8 saturates. They compute in the
// caller's floating-point mode, which must be the default one.
#pragma once

#include <cstddef>

#include "horovod_cpp/base/types.h"

namespace hvd {

// float16, bfloat16, float8_e4m3, float8_e5m2.
bool is_narrow_float(DataType dtype);

// `count` elements; is_narrow_float(dtype). Nothing needs alignment; the two ranges do not overlap.
void widen(DataType dtype, const std::byte* from, std::byte* to_float32, std::size_t count);
void narrow(DataType dtype, const std::byte* from_float32, std::byte* to, std::size_t count);

}  // namespace hvd
