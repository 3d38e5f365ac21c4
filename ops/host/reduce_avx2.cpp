#include "ops/host/reduce_kernels.h"
#include "ops/host/reduce_tables.h"

namespace hvd {

constexpr ReduceKernels kAvx2Kernels = kernels_of_width<32>("avx2");

}  // namespace hvd
