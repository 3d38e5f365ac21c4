// The average of integers: their sum, divided.
#pragma once

#include <cstddef>

#include "horovod_cpp/base/types.h"

namespace hvd {

// Whether values of this type are whole numbers (bool is not a number).
bool is_integer(DataType dtype);

// values[0 .. count) become value / divisor, rounded towards zero.
// `values` are in host memory, of an integer type. divisor > 0.
void divide_in_place(void* values, std::size_t count, DataType dtype, int divisor);

}  // namespace hvd
