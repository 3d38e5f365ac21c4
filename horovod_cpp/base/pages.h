// Ranges of pages in this process's address space.
//
// Addresses and lengths are multiples of page_bytes(). A function that finds no memory or no place says so and changes nothing.
#pragma once

#include <cstddef>

namespace hvd {

// Of x86-64, and of AArch64 with pages of 4 KiB. Where they have another size, advice about this one is refused, and pages stay small.
inline constexpr std::size_t kHugePageBytes = std::size_t{2} << 20U;

std::size_t page_bytes();
std::size_t rounded_to_pages(std::size_t bytes);

// A place where nothing is mapped yet, `offset` beyond a multiple of kHugePageBytes: huge pages can be mapped there as such. nullptr: none.
std::byte* reserve_pages(std::size_t bytes, std::size_t offset = 0);
// The same memory once more, at another address, for memory that is mapped shared. nullptr: it is not, or there is no place.
std::byte* map_again(std::byte* shared, std::size_t bytes);
// Whoever knows these addresses keeps what is there now, and no longer shares it.
bool make_private(std::byte* pages, std::size_t bytes);
void unmap_pages(std::byte* pages, std::size_t bytes);

}  // namespace hvd
