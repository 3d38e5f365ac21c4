// What an allreduce has to give, computed the plain way, and inputs to try it with.
#pragma once

#include <cstdint>
#include <vector>

#include "horovod_cpp/base/types.h"
#include "horovod_cpp/base/wire.h"

namespace hvd {

enum class Sample {
  any,    // any finite value: only the order of ranks gives the reference's bits
  whole,  // small whole numbers: every order is exact
};

// `count` elements, a pure function of all arguments, different for each rank and seed.
Bytes sample_elements(DataType dtype, Sample sample, std::size_t count, int rank, std::uint64_t seed);

// scale × (inputs[0] op inputs[1] op …), element by element in this order;
// narrow floats in float32, rounded once.
Bytes reference_allreduce(const std::vector<Bytes>& inputs, DataType dtype, ReduceOp op, double scale);

}  // namespace hvd
