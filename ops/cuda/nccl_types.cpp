#include "ops/cuda/nccl_types.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/cuda/nccl_library.h"

namespace hvd {
namespace {

struct TypeFacts {
  std::optional<ncclDataType_t> type;
  int first_version = 0;
  int first_compute_capability = 0;
};

// Indexed by DataType.
constexpr std::array<TypeFacts, kDataTypeCount> kTypes{{
    {ncclUint8},                                 // uint8
    {ncclInt8},                                  // int8
    {},                                          // uint16
    {},                                          // int16
    {ncclInt32},                                 // int32
    {ncclInt64},                                 // int64
    {ncclFloat16},                               // float16
    {ncclBfloat16},                              // bfloat16
    {ncclFloat32},                               // float32
    {ncclFloat64},                               // float64
    {ncclUint8},                                 // boolean
    {ncclFloat8e4m3, kFirstNcclWithFloat8, 90},  // float8_e4m3
    {ncclFloat8e5m2, kFirstNcclWithFloat8, 90},  // float8_e5m2
    {ncclUint32},                                // uint32
    {ncclUint64},                                // uint64
}};

// A small binary floating type: value = 1.mantissa × 2^exponent.
struct FloatFormat {
  int mantissa_bits;
  int exponent_bits;
  int lowest_exponent;  // of a normal number
  double largest;
};
constexpr FloatFormat kFloat16{10, 5, -14, 65504.0};
constexpr FloatFormat kBfloat16{7, 8, -126, 3.3895313892515355e38};
constexpr FloatFormat kFloat8E4m3{3, 4, -6, 448.0};
constexpr FloatFormat kFloat8E5m2{2, 5, -14, 57344.0};

// Rounds to nearest even; too large numbers become the largest one.
struct Encoded {
  unsigned bits;
  double value;
};
Encoded encode(double value, const FloatFormat& format) {
  const double magnitude = std::fabs(value);
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  exponent = magnitude == 0 ? format.lowest_exponent : std::max(exponent - 1, format.lowest_exponent);
  const double unit = std::ldexp(1.0, exponent - format.mantissa_bits);
  const double rounded = std::min(std::nearbyint(magnitude / unit) * unit, format.largest);
  std::frexp(rounded, &exponent);
  exponent = rounded == 0 ? format.lowest_exponent : std::max(exponent - 1, format.lowest_exponent);
  // The biased exponent counts from 1 at the lowest normal one;
  // a normal number's leading 1 adds that 1 to the field.
  const auto steps = static_cast<unsigned>(std::ldexp(rounded, format.mantissa_bits - exponent));
  const auto field = static_cast<unsigned>(exponent - format.lowest_exponent) << format.mantissa_bits;
  const unsigned sign = std::signbit(value) ? 1U << (format.mantissa_bits + format.exponent_bits) : 0U;
  return {sign | (field + steps), std::copysign(rounded, value)};
}

template <class Bits>
NcclScalar scalar_of(Bits bits, double value) {
  NcclScalar scalar;
  std::memcpy(scalar.bytes.data(), &bits, sizeof(bits));
  scalar.value = value;
  return scalar;
}

template <class Bits>
NcclScalar small_scalar(double value, const FloatFormat& format) {
  const Encoded encoded = encode(value, format);
  return scalar_of(static_cast<Bits>(encoded.bits), encoded.value);
}

}  // namespace

std::optional<ncclDataType_t> nccl_type(DataType dtype, NcclAbility ability) {
  const TypeFacts& facts = kTypes.at(static_cast<std::size_t>(dtype));
  if (ability.version < facts.first_version || ability.compute_capability < facts.first_compute_capability) {
    return std::nullopt;
  }
  return facts.type;
}

NcclMoveType nccl_move_type(DataType dtype) {
  const TypeFacts& facts = kTypes.at(static_cast<std::size_t>(dtype));
  if (!facts.type || facts.first_version > 0) return {ncclUint8, size_in_bytes(dtype)};
  return {*facts.type, 1};
}

std::optional<ncclRedOp_t> nccl_operation(ReduceOp op, DataType dtype) {
  const bool is_boolean = dtype == DataType::boolean;
  switch (op) {
    case ReduceOp::sum:
      return is_boolean ? ncclMax : ncclSum;
    case ReduceOp::product:
      return is_boolean ? ncclMin : ncclProd;
    case ReduceOp::min:
      return ncclMin;
    case ReduceOp::max:
      return ncclMax;
    case ReduceOp::average:
    case ReduceOp::adasum:
      break;
  }
  return std::nullopt;
}

std::optional<NcclScalar> nccl_scalar(double value, DataType dtype) {
  switch (dtype) {
    case DataType::float64:
      return scalar_of(value, value);
    case DataType::float32:
      return scalar_of(static_cast<float>(value), static_cast<float>(value));
    case DataType::float16:
      return small_scalar<std::uint16_t>(value, kFloat16);
    case DataType::bfloat16:
      return small_scalar<std::uint16_t>(value, kBfloat16);
    case DataType::float8_e4m3:
      return small_scalar<std::uint8_t>(value, kFloat8E4m3);
    case DataType::float8_e5m2:
      return small_scalar<std::uint8_t>(value, kFloat8E5m2);
    default:
      return std::nullopt;
  }
}

}  // namespace hvd
