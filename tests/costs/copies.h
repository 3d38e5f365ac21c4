// What this program's own object code copies by memcpy and memmove: linked with --wrap (CMakeLists.txt), libraries are not counted.
#pragma once

#include <cstdint>

namespace hvd {

// Of all threads, so far.
std::int64_t bytes_copied();

}  // namespace hvd
