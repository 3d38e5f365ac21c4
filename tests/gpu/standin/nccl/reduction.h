// Arithmetic of the NCCL stand-in: plain, slow, and written apart from the library's own kernels. Sums of
// 16-bit and fp8 types accumulate in float.
#pragma once

#include <cstddef>
#include <span>

#include "ops/cuda/nvidia_headers.h"

namespace hvd::standin {

// A reduction as one operation uses it. `scale` is 1 unless it is a premultiplied sum.
struct Reduction {
  ncclRedOp_t op = ncclSum;
  double scale = 1.0;
};

std::size_t element_bytes(ncclDataType_t type);
// One element, as a number: the argument of a premultiplied sum.
double read_element(ncclDataType_t type, const void* element);

// output[i] = reduction over inputs[0][i], inputs[1][i], ...
// in this order, for i < count. output may be one of the inputs.
void reduce(Reduction reduction, ncclDataType_t type, std::span<const std::byte* const> inputs,
            std::byte* output, std::size_t count);

}  // namespace hvd::standin
