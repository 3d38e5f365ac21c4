// One table of kernels an instruction set, each from a source of its own. Private to ops/host.
#pragma once

#include "ops/host/reduce.h"

namespace hvd {

extern const ReduceKernels kBaselineKernels;  // what every processor of the architecture has
#if defined(__x86_64__)
extern const ReduceKernels kAvx2Kernels;
extern const ReduceKernels kAvx512Kernels;  // F, BW, DQ, VL
#endif

}  // namespace hvd
