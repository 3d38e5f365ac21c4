#include "tests/costs/copies.h"

#include <atomic>
#include <cstddef>

namespace {

constinit std::atomic<std::int64_t> copied{0};

}  // namespace

// Names that the linker makes of memcpy and memmove.
// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" {
void* __real_memcpy(void* to, const void* from, std::size_t bytes);
void* __real_memmove(void* to, const void* from, std::size_t bytes);

void* __wrap_memcpy(void* to, const void* from, std::size_t bytes) {
  copied.fetch_add(static_cast<std::int64_t>(bytes), std::memory_order_relaxed);
  return __real_memcpy(to, from, bytes);
}
void* __wrap_memmove(void* to, const void* from, std::size_t bytes) {
  copied.fetch_add(static_cast<std::int64_t>(bytes), std::memory_order_relaxed);
  return __real_memmove(to, from, bytes);
}
}
// NOLINTEND(bugprone-reserved-identifier)

namespace hvd {

std::int64_t bytes_copied() { return copied.load(); }

}  // namespace hvd
