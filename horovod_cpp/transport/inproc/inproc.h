// Ranks as threads of one process: what tests and a single process use in place of shared memory and sockets.
//
// Element r of every returned vector belongs to the thread that plays rank r. The elements refer to common
// state, which lives as long as any of them; each may be destroyed at any time by its own thread.
#pragma once

#include <memory>
#include <vector>

#include "horovod_cpp/ports/memory_exchange.h"
#include "horovod_cpp/ports/transport.h"

namespace hvd {

// Memory is mapped once and shared by pointer. The first failure (a deadline, a rank that was destroyed
// before it joined) is kept and ends the calls of every rank.
std::vector<std::unique_ptr<MemoryExchange>> make_inproc_memory(int size);

// Named "inproc". No rank needs to be waited for. Empty if there is no memory for it.
std::vector<std::unique_ptr<Transport>> make_inproc_transports(int size);

}  // namespace hvd
