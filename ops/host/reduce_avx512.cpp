#include "ops/host/reduce_kernels.h"
#include "ops/host/reduce_tables.h"

namespace hvd {

constexpr ReduceKernels kAvx512Kernels = kernels_of_width<64>("avx512");

}  // namespace hvd
