// Declaration: an operation on a named tensor, as all ranks must declare it alike.
#pragma once

#include <span>
#include <string>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/types.h"

namespace hvd {

struct Declaration {
  std::string name = {};  // unique among the operations of a Session
  OpKind kind = OpKind::allreduce;
  DataType dtype = DataType::float32;
  Shape shape = {};
  DeviceId device = {};             // ranks may differ in the index
  ReduceOp op = ReduceOp::average;  // allreduce
  double prescale = 1.0;            // allreduce: each input is multiplied by this …
  double postscale = 1.0;           // … and the result by this; integers take 1 only
  int root = 0;                     // broadcast
  friend bool operator==(const Declaration&, const Declaration&) = default;
};

// Finds what is wrong with a declaration on its own, before any other rank sees it.
Status validate(const Declaration& declaration, int rank, int size);

// ok if all ranks (declarations[r] is rank r's) mean the same operation; otherwise a mismatch that names the tensor, the property
// and each rank's value.
Status check_agreement(std::span<const Declaration* const> declarations);

// What a backend has to do for an all-reduce: one op and one factor.
struct EffectiveReduction {
  ReduceOp op;
  double scale;
};
EffectiveReduction effective_reduction(const Declaration& declaration, int size);

// "allreduce 'layer1.weight'"
std::string describe(const Declaration& declaration);

}  // namespace hvd
