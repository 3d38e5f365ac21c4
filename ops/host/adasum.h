// Adasum (Maleki et al., "Scaling Distributed Training with Adaptive Summation", arXiv 2006.02924) on top of any Collectives on host memory.
#pragma once

#include <memory>

#include "horovod_cpp/ports/collectives.h"

namespace hvd {

// `inner` with one more operation: an allreduce of ReduceOp::adasum, of every floating type. Of two tensors it is
//   (1 − a·b / 2|a|²) a + (1 − a·b / 2|b|²) b,
// the sum of what is orthogonal and the average of what is parallel; zeros change nothing. Of any number of ranks it is that of neighbours (0 and
// 1, 2 and 3, …), then of those results, and so on; who is left over waits for the next turn. Each tensor of a request is alone. Everything is
// computed in float64 and rounded once, with the scale; all ranks get the same bits.
// A rank computes its part of each tensor only: bytes are those of an allreduce, and three numbers a pair and tensor. Scratch: three times the
// tensors' bytes for float32 (five for 16 bits). Integers are not supported.
std::unique_ptr<Collectives> with_adasum(std::unique_ptr<Collectives> inner, int rank, int size);

}  // namespace hvd
