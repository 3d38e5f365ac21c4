// The sum of the squares of an array's elements, in float64.
//
// The same bits on every processor: eight partial sums, element i in number i mod 8, then added in a fixed order. Elements narrower than
// float32 are converted exactly. Integers and booleans count by their value.
#pragma once

#include <cstddef>

#include "horovod_cpp/base/types.h"

namespace hvd {

double sum_of_squares(const std::byte* values, std::size_t count, DataType dtype);

}  // namespace hvd
