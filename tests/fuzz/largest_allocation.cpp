#include "tests/fuzz/largest_allocation.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> largest{0};

}  // namespace

namespace hvd {

void forget_largest_allocation() { largest.store(0); }
std::size_t largest_allocation() { return largest.load(); }

#ifdef HVD_TEST_IS_SANITIZED
bool counts_allocations() { return false; }
#else
bool counts_allocations() { return true; }
#endif

}  // namespace hvd

#ifndef HVD_TEST_IS_SANITIZED

// NOLINTBEGIN(cppcoreguidelines-no-malloc): this is where memory comes from.
void* operator new(std::size_t bytes) {
  for (std::size_t seen = largest.load(); seen < bytes && !largest.compare_exchange_weak(seen, bytes);) {
  }
  if (void* const memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
// NOLINTEND(cppcoreguidelines-no-malloc)

#endif
