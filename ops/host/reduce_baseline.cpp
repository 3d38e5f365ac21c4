#include "ops/host/reduce_kernels.h"
#include "ops/host/reduce_tables.h"

namespace hvd {

constexpr ReduceKernels kBaselineKernels = kernels_of_width<16>("baseline");

}  // namespace hvd
