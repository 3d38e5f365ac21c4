#include "ops/mpi/reductions.h"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "ops/host/float_conversion.h"
#include "ops/host/reduce.h"

namespace hvd::mpi {
namespace {

struct TypeRow {
  bool supported;
  MPI_Datatype type;
};

TypeRow row_of(DataType dtype) {
  switch (dtype) {
    case DataType::uint8:
      return {true, MPI_UINT8_T};
    case DataType::int8:
      return {true, MPI_INT8_T};
    case DataType::uint16:
      return {true, MPI_UINT16_T};
    case DataType::int16:
      return {true, MPI_INT16_T};
    case DataType::uint32:
      return {true, MPI_UINT32_T};
    case DataType::int32:
      return {true, MPI_INT32_T};
    case DataType::uint64:
      return {true, MPI_UINT64_T};
    case DataType::int64:
      return {true, MPI_INT64_T};
    case DataType::float32:
      return {true, MPI_FLOAT};
    case DataType::float64:
      return {true, MPI_DOUBLE};
    case DataType::boolean:
      return {true, MPI_UINT8_T};  // logical operations, see Operations::of
    case DataType::float16:
    case DataType::bfloat16:
    case DataType::float8_e4m3:
    case DataType::float8_e5m2:
      break;
  }
  return {false, MPI_DATATYPE_NULL};
}

bool is_float(DataType dtype) { return dtype == DataType::float32 || dtype == DataType::float64; }

template <class T>
T smaller(T a, T b) {
  if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<T>::quiet_NaN();
  if (a == b) return std::signbit(a) ? a : b;
  return a < b ? a : b;
}
template <class T>
T larger(T a, T b) {
  if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<T>::quiet_NaN();
  if (a == b) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}

template <class T, T (*combine)(T, T)>
void combine_all(const void* in, void* in_out, int count) {
  const T* from = static_cast<const T*>(in);
  T* to = static_cast<T*>(in_out);
  for (int i = 0; i < count; ++i) to[i] = combine(from[i], to[i]);
}

// MPI says what the parameters are. NOLINTBEGIN(readability-non-const-parameter)
void min_operation(void* in, void* in_out, int* count, MPI_Datatype* type) {
  if (*type == MPI_FLOAT) combine_all<float, smaller<float>>(in, in_out, *count);
  if (*type == MPI_DOUBLE) combine_all<double, smaller<double>>(in, in_out, *count);
}
void max_operation(void* in, void* in_out, int* count, MPI_Datatype* type) {
  if (*type == MPI_FLOAT) combine_all<float, larger<float>>(in, in_out, *count);
  if (*type == MPI_DOUBLE) combine_all<double, larger<double>>(in, in_out, *count);
}

// The operation is called for datatype_of one of these only.
DataType narrow_integer_of(MPI_Datatype type) {
  for (const DataType dtype : {DataType::uint8, DataType::int8, DataType::uint16}) {
    if (type == datatype_of(dtype)) return dtype;
  }
  return DataType::int16;
}

template <ReduceOp op>
void wrapping_operation(void* in, void* in_out, int* count, MPI_Datatype* type) {
  const std::byte* const inputs[] = {static_cast<const std::byte*>(in),
                                     static_cast<const std::byte*>(in_out)};
  reduce(fastest_reduce_kernels(), {.inputs = inputs,
                                    .output = static_cast<std::byte*>(in_out),
                                    .count = static_cast<std::size_t>(*count),
                                    .dtype = narrow_integer_of(*type),
                                    .op = op});
}
// NOLINTEND(readability-non-const-parameter)

bool is_narrow_integer(DataType dtype) {
  return dtype == DataType::uint8 || dtype == DataType::int8 || dtype == DataType::uint16 ||
         dtype == DataType::int16;
}

template <class T>
void multiply_all(void* values, std::size_t count, T factor) {
  T* value = static_cast<T*>(values);
  for (std::size_t i = 0; i < count; ++i) value[i] *= factor;
}

}  // namespace

bool can_reduce(DataType dtype, ReduceOp op) {
  const bool known =
      op == ReduceOp::sum || op == ReduceOp::min || op == ReduceOp::max || op == ReduceOp::product;
  return known && row_of(accumulator_of(dtype)).supported;
}

DataType accumulator_of(DataType dtype) { return is_narrow_float(dtype) ? DataType::float32 : dtype; }

MPI_Datatype datatype_of(DataType dtype) { return row_of(dtype).type; }

void to_accumulators(DataType dtype, const std::byte* from, std::byte* to, std::size_t count) {
  if (is_narrow_float(dtype)) return widen(dtype, from, to, count);
  if (dtype == DataType::boolean) {
    // Results are 0 and 1 also where there is nobody to combine with.
    for (std::size_t i = 0; i < count; ++i) to[i] = std::byte{from[i] != std::byte{0}};
    return;
  }
  std::memcpy(to, from, count * size_in_bytes(dtype));
}

void from_accumulators(DataType dtype, const std::byte* from, std::byte* to, std::size_t count) {
  if (is_narrow_float(dtype)) return narrow(dtype, from, to, count);
  std::memcpy(to, from, count * size_in_bytes(dtype));
}

Operations::Operations() {
  MPI_Op_create(&min_operation, 1, &min_);
  MPI_Op_create(&max_operation, 1, &max_);
  MPI_Op_create(&wrapping_operation<ReduceOp::sum>, 1, &sum_);
  MPI_Op_create(&wrapping_operation<ReduceOp::product>, 1, &product_);
}

Operations::~Operations() {
  for (MPI_Op* const operation : {&min_, &max_, &sum_, &product_}) {
    if (*operation != MPI_OP_NULL) MPI_Op_free(operation);
  }
}

MPI_Op Operations::of(DataType dtype, ReduceOp op) const {
  if (dtype == DataType::boolean) return op == ReduceOp::sum || op == ReduceOp::max ? MPI_LOR : MPI_LAND;
  switch (op) {
    case ReduceOp::sum:
      return is_narrow_integer(dtype) ? sum_ : MPI_SUM;
    case ReduceOp::product:
      return is_narrow_integer(dtype) ? product_ : MPI_PROD;
    case ReduceOp::min:
      return is_float(dtype) ? min_ : MPI_MIN;
    case ReduceOp::max:
      return is_float(dtype) ? max_ : MPI_MAX;
    default:
      return MPI_OP_NULL;
  }
}

void scale_in_place(DataType dtype, void* values, std::size_t count, double scale) {
  if (scale == 1.0) return;
  if (dtype == DataType::float32) multiply_all(values, count, static_cast<float>(scale));
  if (dtype == DataType::float64) multiply_all(values, count, scale);
}

DefaultFloatingPoint::DefaultFloatingPoint() {
  std::fegetenv(&saved_);
  std::fesetenv(FE_DFL_ENV);
}
DefaultFloatingPoint::~DefaultFloatingPoint() { std::fesetenv(&saved_); }

}  // namespace hvd::mpi
