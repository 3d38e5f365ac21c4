// Memory that threads share by pointer.
#pragma once

#include "horovod_cpp/ports/memory_exchange.h"

namespace hvd {

// At least one page, zeroed; size_bytes is what was asked for. unavailable if there is no memory.
Result<MappedMemory> map_anonymous_memory(std::size_t bytes);

}  // namespace hvd
