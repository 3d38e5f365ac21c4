// What a thread takes from the heap, whoever asks: a program that links this has a malloc that counts.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hvd {

// Of the calling thread, since it began. Values: subtract two of them.
struct Allocations {
  std::int64_t count = 0;
  std::int64_t bytes = 0;  // as they were asked for
  friend Allocations operator-(const Allocations& later, const Allocations& earlier) {
    return {later.count - earlier.count, later.bytes - earlier.bytes};
  }
};
Allocations allocations_so_far();

// What the whole program has from the heap now, and has not given back.
std::int64_t bytes_in_use();

}  // namespace hvd
