// Ranges of pages in this process's address space, and the files that are mapped there.
//
// Offsets and lengths are multiples of page_bytes().
#pragma once

#include <cstddef>

#include "horovod_cpp/base/unique_fd.h"

namespace hvd {

// Of x86-64, and of AArch64 with pages of 4 KiB. Where they have another size, advice about this one is refused, and pages stay small.
inline constexpr std::size_t kHugePageBytes = std::size_t{2} << 20U;

std::size_t page_bytes();
std::size_t rounded_to_pages(std::size_t bytes);

// `bytes` of the file, shared, and where huge pages of it can be mapped as such if there is such a place. nullptr: errno says why.
std::byte* map_shared(const UniqueFd& file, std::size_t offset, std::size_t bytes);
// `pages` show these bytes of the file. From now on they are this process's own, with what is there when nobody writes any more: no write
// through `pages` is lost meanwhile, but the caller must not let anybody write into the file by other ways. False: there is no memory; then
// they may still be shared.
bool make_private(std::byte* pages, const UniqueFd& file, std::size_t offset, std::size_t bytes);
// Whether the kernel can do that (Linux 5.14). Looked up once.
bool can_make_private();
void unmap_pages(std::byte* pages, std::size_t bytes);

}  // namespace hvd
