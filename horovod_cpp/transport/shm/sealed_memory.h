// Memory without a name that processes hand to each other: a memfd that nobody can resize. In huge pages where the kernel has them.
#pragma once

#include <cstddef>
#include <utility>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"
#include "horovod_cpp/ports/memory_exchange.h"

namespace hvd {

// A memfd of at least so many bytes, zeroed, all of them allocated; or an errno value.
std::pair<UniqueFd, int> create_sealed_memory(std::size_t bytes);

// Refused if it is smaller, or not sealed: a peer could otherwise shrink its memory under us.
Result<MappedMemory> map_sealed_memory(const UniqueFd& memory, std::size_t bytes);

}  // namespace hvd
