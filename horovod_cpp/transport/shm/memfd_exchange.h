// Shared memory of the processes of one host without names: each rank's memory is an anonymous memfd that it
// hands to its peers.
#pragma once

#include <memory>
#include <vector>

#include "horovod_cpp/base/unique_fd.h"
#include "horovod_cpp/ports/memory_exchange.h"

namespace hvd {

// `links` come from connect_local_mesh: links[r] leads to rank r, the own entry is closed. They
// carry the messages of this exchange and its subgroups, and of nobody else.
// Memory is fully allocated, or allocate fails on every rank; it cannot be resized by anybody, so touching it
// never raises SIGBUS. The first failure is kept, and later
// calls return it, unless a rank only had not the memory.
std::unique_ptr<MemoryExchange> make_memfd_exchange(int rank, std::vector<UniqueFd> links);

}  // namespace hvd
