// How much memory was asked for at once, so that an announced length that is believed shows.
#pragma once

#include <cstddef>

namespace hvd {

// False where a sanitizer has the allocator: it counts nothing then, and largest_allocation() is 0.
bool counts_allocations();
void forget_largest_allocation();
// In bytes, of all threads, since it was forgotten.
std::size_t largest_allocation();

}  // namespace hvd
