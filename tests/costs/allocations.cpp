#include "tests/costs/allocations.h"

#include <malloc.h>

#include <atomic>
#include <cerrno>

// glibc's own, under the names that it keeps for this.
extern "C" {
void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t count, std::size_t bytes);
void* __libc_realloc(void* memory, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);
void __libc_free(void* memory);
}

namespace hvd {
namespace {

thread_local constinit Allocations own_allocations;
constinit std::atomic<std::int64_t> in_use{0};

void* noted(void* memory, std::size_t bytes) {
  if (memory == nullptr) return nullptr;
  ++own_allocations.count;
  own_allocations.bytes += static_cast<std::int64_t>(bytes);
  in_use.fetch_add(static_cast<std::int64_t>(::malloc_usable_size(memory)), std::memory_order_relaxed);
  return memory;
}

void forget(void* memory) {
  if (memory == nullptr) return;
  in_use.fetch_sub(static_cast<std::int64_t>(::malloc_usable_size(memory)), std::memory_order_relaxed);
}

}  // namespace

Allocations allocations_so_far() { return own_allocations; }
std::int64_t bytes_in_use() { return in_use.load(); }

}  // namespace hvd

extern "C" {

void* malloc(std::size_t bytes) { return hvd::noted(__libc_malloc(bytes), bytes); }
void* calloc(std::size_t count, std::size_t bytes) {
  return hvd::noted(__libc_calloc(count, bytes), count * bytes);
}
void* realloc(void* memory, std::size_t bytes) {
  hvd::forget(memory);
  return hvd::noted(__libc_realloc(memory, bytes), bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) {
  return hvd::noted(__libc_memalign(alignment, bytes), bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) { return memalign(alignment, bytes); }
int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) {
  *memory = memalign(alignment, bytes);
  return *memory == nullptr ? ENOMEM : 0;
}
void free(void* memory) {
  hvd::forget(memory);
  __libc_free(memory);
}

}  // extern "C"
