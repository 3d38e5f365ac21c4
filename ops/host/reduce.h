// Reduction of host memory: n inputs into one output in one pass.
//
// For every element i:  output[i] = scale × (inputs[0][i] op inputs[1][i] op … inputs[n-1][i]),
// in exactly this order, the same bits from every instruction set (the sign and payload of a float32 or
// float64 NaN excepted).
// - float32, float64: one rounding an operation; scale is rounded to the type and multiplied last,
//   unless it is 1.
// - float16, bfloat16, float8: computed in float32, rounded once at the end, to nearest even. NaN stays NaN.
//   float8 saturates: what is finite and too large becomes the largest finite value; infinity stays infinity
//   where the format has one (e5m2).
// - integers: wrap around; scale is ignored (the port allows only 1).
// - boolean (0 is false, everything else true, results are 0 and 1): sum is or, product is and;
//   so are max and min.
// - min, max: NaN wins.
// Every kernel runs with the processor's default floating-point mode (to nearest even, denormals kept),
// whatever the caller's thread has set, and leaves that as it was.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "horovod_cpp/base/types.h"

namespace hvd {

// `count` elements. Nothing needs alignment. output and second_output (nullptr: none; receives the same) may
// be the same address as an input, and may not overlap otherwise.
using ReduceKernel = void (*)(const std::byte* const* inputs, std::size_t input_count, std::byte* output,
                              std::byte* second_output, std::size_t count, double scale);

// The kernels of one instruction set. Constant tables with static lifetime.
struct ReduceKernels {
  const char* name = nullptr;  // "baseline", "avx2", "avx512"
  // By DataType, then by ReduceOp - 1 (sum, min, max, product).
  std::array<std::array<ReduceKernel, 4>, kDataTypeCount> table{};
};

// What this processor can run, slowest first; never empty.
std::span<const ReduceKernels* const> runnable_reduce_kernels();
// The last of them.
const ReduceKernels& fastest_reduce_kernels();

// True for sum, min, max and product.
bool is_reducible(ReduceOp op);

struct ReduceArguments {
  std::span<const std::byte* const> inputs;  // at least one
  std::byte* output = nullptr;
  std::byte* second_output = nullptr;
  std::size_t count = 0;
  DataType dtype = DataType::float32;
  ReduceOp op = ReduceOp::sum;  // is_reducible
  double scale = 1.0;
};
void reduce(const ReduceKernels& kernels, const ReduceArguments& arguments);

}  // namespace hvd
