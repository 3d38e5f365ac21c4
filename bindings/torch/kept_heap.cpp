#include "bindings/torch/kept_heap.h"

#include <malloc.h>

#include <cstdlib>
#include <initializer_list>
#include <limits>

namespace hvd {

void keep_heap() {
#if defined(__GLIBC__)
  for (const char* variable : {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"}) {
    if (std::getenv(variable) != nullptr) return;
  }
  // Either call ends glibc's own fitting of both, whose highest value this is.
  constexpr int kHighestOfGlibc = 32 << 20;
  ::mallopt(M_MMAP_THRESHOLD, kHighestOfGlibc);
  ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
}

}  // namespace hvd
