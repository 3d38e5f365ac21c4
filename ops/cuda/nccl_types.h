// How our element types and reductions are called in NCCL. Pure.
#pragma once

#include <array>
#include <optional>

#include "horovod_cpp/base/types.h"
#include "ops/cuda/nvidia_headers.h"

namespace hvd {

// What the ranks' NCCL and devices have in common: the lowest of each.
struct NcclAbility {
  int version = 0;             // 22907
  int compute_capability = 0;  // 90
};

// The type to reduce as; nothing if NCCL (or this one) cannot: uint16, int16, fp8 on old NCCL or devices.
std::optional<ncclDataType_t> nccl_type(DataType dtype, NcclAbility ability);
// The type to move as: bytes where NCCL has no such type, `elements` of it for each element.
struct NcclMoveType {
  ncclDataType_t type;
  std::size_t elements;
};
NcclMoveType nccl_move_type(DataType dtype);

// Nothing for average and adasum. Booleans: sum and max are "or", product and min are "and".
std::optional<ncclRedOp_t> nccl_operation(ReduceOp op, DataType dtype);

// A number as an element of a floating type, for ncclRedOpCreatePreMulSum, which multiplies in that type.
struct NcclScalar {
  alignas(8) std::array<std::byte, 8> bytes{};
  double value = 0;  // what the element holds: the number rounded to nearest even
};
// Nothing for types that are not floating.
std::optional<NcclScalar> nccl_scalar(double value, DataType dtype);

}  // namespace hvd
