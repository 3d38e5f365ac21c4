// The caches of a core, in bytes, of data.
#pragma once

#include <cstddef>

namespace hvd {

// Where the system says nothing (some virtual machines): what is usual.
struct Caches {
  std::size_t first = std::size_t{32} << 10U;
  std::size_t second = std::size_t{512} << 10U;
};

// Of this machine; where cores differ, of one of them. Looked up once.
const Caches& caches_of_machine();

}  // namespace hvd
