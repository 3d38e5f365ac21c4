#include "horovod_cpp/base/caches.h"

#include <unistd.h>

namespace hvd {
namespace {

std::size_t size_or(int name, std::size_t fallback) {
  const long bytes = ::sysconf(name);
  return bytes > 0 ? static_cast<std::size_t>(bytes) : fallback;
}

}  // namespace

const Caches& caches_of_machine() {
  static const Caches found{size_or(_SC_LEVEL1_DCACHE_SIZE, Caches{}.first),
                            size_or(_SC_LEVEL2_CACHE_SIZE, Caches{}.second)};
  return found;
}

}  // namespace hvd
