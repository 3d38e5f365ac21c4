#include "horovod_cpp/base/pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif

namespace hvd {
namespace {

std::byte* map_nothing(std::size_t bytes) {
  void* const at = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? nullptr : static_cast<std::byte*>(at);
}

// A place where nothing is mapped yet, `offset` beyond a multiple of kHugePageBytes.
std::byte* reserve_pages(std::size_t bytes, std::size_t offset) {
  if (bytes + kHugePageBytes < bytes) return nullptr;
  std::byte* const begin = map_nothing(bytes + kHugePageBytes);
  if (begin == nullptr) return nullptr;
  const std::size_t at = reinterpret_cast<std::uintptr_t>(begin) % kHugePageBytes;
  const std::size_t skipped = (kHugePageBytes + offset % kHugePageBytes - at) % kHugePageBytes;
  if (skipped > 0) unmap_pages(begin, skipped);
  unmap_pages(begin + skipped + bytes, kHugePageBytes - skipped);
  return begin + skipped;
}

// Copies each page that is not this process's own yet, with all that has been written there until then, and writes nothing.
bool own_pages(std::byte* pages, std::size_t bytes) {
  return ::madvise(pages, bytes, MADV_POPULATE_WRITE) == 0;
}

}  // namespace

std::size_t page_bytes() {
  static const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

std::size_t rounded_to_pages(std::size_t bytes) {
  return std::max(page_bytes(), (bytes + page_bytes() - 1) / page_bytes() * page_bytes());
}

std::byte* map_shared(const UniqueFd& file, std::size_t offset, std::size_t bytes) {
  std::byte* const place = bytes >= kHugePageBytes ? reserve_pages(bytes, offset) : nullptr;
  const int fixed = place != nullptr ? MAP_FIXED : 0;
  void* const at = ::mmap(place, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | fixed, file.get(),
                          static_cast<off_t>(offset));
  // If it failed, what was reserved is not unmapped: it may be somebody else's by now.
  return at == MAP_FAILED ? nullptr : static_cast<std::byte*>(at);
}

bool make_private(std::byte* pages, const UniqueFd& file, std::size_t offset, std::size_t bytes) {
  const auto map = [&](int kind) {
    return ::mmap(pages, bytes, PROT_READ | PROT_WRITE, kind | MAP_FIXED, file.get(),
                  static_cast<off_t>(offset)) != MAP_FAILED;
  };
  if (map(MAP_PRIVATE)) return own_pages(pages, bytes);
  static_cast<void>(map(MAP_SHARED));
  return false;
}

bool can_make_private() {
  static const bool can = [] {
    std::byte* const page = map_nothing(page_bytes());
    if (page == nullptr) return false;
    const bool is_done =
        ::mprotect(page, page_bytes(), PROT_READ | PROT_WRITE) == 0 && own_pages(page, page_bytes());
    unmap_pages(page, page_bytes());
    return is_done;
  }();
  return can;
}

void unmap_pages(std::byte* pages, std::size_t bytes) { ::munmap(pages, bytes); }

}  // namespace hvd
