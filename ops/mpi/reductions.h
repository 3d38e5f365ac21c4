// What MPI reduces for us: which MPI type and operation stand for an element type and a ReduceOp.
//
// MPI has no 16-bit or 8-bit floats: they are widened to float32, reduced, scaled, and rounded once at the end. Boolean
// (0 is false, everything else true) is or for sum and max, and for product and min, with results 0 and 1. MPI's own operations do the
// rest, but where they are not what we promise:
// - min and max of floats: MPI leaves open what a NaN or the two zeros give, and the ranks would differ. Here NaN wins and -0 < +0.
// - sum and product of 8-bit and 16-bit integers: Open MPI saturates sums in its vector code and wraps elsewhere
//   (github.com/open-mpi/ompi/issues/8045, will not be changed). Here they wrap.
#pragma once

#include <mpi.h>

#include <cfenv>
#include <cstddef>

#include "horovod_cpp/base/types.h"

namespace hvd::mpi {

bool can_reduce(DataType dtype, ReduceOp op);

// The type in which `dtype` is reduced: float32 for the narrow floats, the type itself for all others.
DataType accumulator_of(DataType dtype);

// Only where can_reduce, and for types that are their own accumulator.
MPI_Datatype datatype_of(DataType dtype);

// `count` elements as their accumulators, and back. The ranges do not overlap. Within DefaultFloatingPoint.
void to_accumulators(DataType dtype, const std::byte* from, std::byte* to, std::size_t count);
void from_accumulators(DataType dtype, const std::byte* from, std::byte* to, std::size_t count);

// The operations that MPI does not have, made on construction and freed on destruction.
// Belongs to one thread.
class Operations {
 public:
  Operations();
  ~Operations();
  Operations(const Operations&) = delete;
  Operations& operator=(const Operations&) = delete;
  // As datatype_of. Commutative.
  MPI_Op of(DataType dtype, ReduceOp op) const;

 private:
  MPI_Op min_ = MPI_OP_NULL;
  MPI_Op max_ = MPI_OP_NULL;
  MPI_Op sum_ = MPI_OP_NULL;
  MPI_Op product_ = MPI_OP_NULL;
};

// values[i] *= scale, rounded to dtype; other types than float32 and float64 are left alone.
void scale_in_place(DataType dtype, void* values, std::size_t count, double scale);

// While it lives, the calling thread rounds to nearest and keeps denormals, whatever the program has set.
class DefaultFloatingPoint {
 public:
  DefaultFloatingPoint();
  ~DefaultFloatingPoint();
  DefaultFloatingPoint(const DefaultFloatingPoint&) = delete;
  DefaultFloatingPoint& operator=(const DefaultFloatingPoint&) = delete;

 private:
  std::fenv_t saved_{};
};

}  // namespace hvd::mpi
