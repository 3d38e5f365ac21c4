#include "horovod_cpp/base/pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace hvd {
namespace {

std::size_t offset_in_huge_page(const std::byte* at) {
  return reinterpret_cast<std::uintptr_t>(at) % kHugePageBytes;
}

std::byte* map_private(std::size_t bytes, int protection) {
  void* const at = ::mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? nullptr : static_cast<std::byte*>(at);
}

}  // namespace

std::size_t page_bytes() {
  static const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

std::size_t rounded_to_pages(std::size_t bytes) {
  return std::max(page_bytes(), (bytes + page_bytes() - 1) / page_bytes() * page_bytes());
}

std::byte* reserve_pages(std::size_t bytes, std::size_t offset) {
  if (bytes + kHugePageBytes < bytes) return nullptr;
  std::byte* const begin = map_private(bytes + kHugePageBytes, PROT_NONE);
  if (begin == nullptr) return nullptr;
  const std::size_t skipped = (kHugePageBytes + offset - offset_in_huge_page(begin)) % kHugePageBytes;
  if (skipped > 0) unmap_pages(begin, skipped);
  unmap_pages(begin + skipped + bytes, kHugePageBytes - skipped);
  return begin + skipped;
}

std::byte* map_again(std::byte* shared, std::size_t bytes) {
  std::byte* const place = reserve_pages(bytes, offset_in_huge_page(shared));
  if (place == nullptr) return nullptr;
  // Linux: with an old size of 0 it makes a second mapping of what is mapped shared (mremap(2)).
  if (::mremap(shared, 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, place) != MAP_FAILED) return place;
  unmap_pages(place, bytes);
  return nullptr;
}

bool make_private(std::byte* pages, std::size_t bytes) {
  std::byte* const copy = map_private(bytes, PROT_READ | PROT_WRITE);
  if (copy == nullptr) return false;
  std::memcpy(copy, pages, bytes);
  if (::mremap(copy, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, pages) != MAP_FAILED) return true;
  unmap_pages(copy, bytes);
  return false;
}

void unmap_pages(std::byte* pages, std::size_t bytes) { ::munmap(pages, bytes); }

}  // namespace hvd
