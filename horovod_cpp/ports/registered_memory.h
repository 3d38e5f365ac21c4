// RegisteredMemory [port]: memory of each rank, of one size, that a backend reduces where it lies.
//
// Threading: any thread, also several at once on ranges that do not overlap.
// Ownership: independent of the Collectives that made it. The memory lives as long as any mapping of it, on any rank.
#pragma once

#include <span>

#include "horovod_cpp/base/types.h"
#include "horovod_cpp/ports/memory_exchange.h"

namespace hvd {

struct RegisteredRange {
  std::size_t begin_bytes = 0;  // the same place in every rank's memory, a multiple of 64
  std::size_t count = 0;        // elements
  DataType dtype = DataType::float32;
};

class RegisteredMemory {
 public:
  virtual ~RegisteredMemory() = default;

  // This rank's number among those who share it; of_members()[m] is member m's memory, zeroed at first.
  virtual int member() const = 0;
  virtual std::span<const MappedMemory> of_members() const = 0;

  // In every member's memory the range becomes scale × op over members of what was there, in their order: as the allreduce of the backend,
  // bit for bit. The caller sees to it that nobody else touches it. Returns the sum of the squares of the result, if it is wanted; else 0.
  virtual double reduce(const RegisteredRange& range, ReduceOp op, double scale,
                        bool wants_squares) const = 0;
  // Of this member's memory as it is: the same bits as from reduce(), if it is what reduce() has left.
  virtual double sum_of_squares(const RegisteredRange& range) const = 0;
};

}  // namespace hvd
