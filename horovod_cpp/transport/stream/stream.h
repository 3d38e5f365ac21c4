// The Transport of ranks that share memory: processes of one host over memfds, or threads over anonymous
// memory. The same code for both.
//
// Each ordered pair of ranks has a ring of bytes with one writer and one reader, in the writer's segment. A
// rank that waits spins briefly, then sleeps on the doorbell word of its own segment; writing to a rank that
// is awake costs no system call. A rank that calls abort, or whose Transport is destroyed, says so in shared
// memory, and the others' calls end with aborted. A rank that was killed says nothing: somebody has to watch
// the processes and call abort here.
#pragma once

#include <memory>
#include <vector>

#include "horovod_cpp/ports/memory_exchange.h"
#include "horovod_cpp/ports/transport.h"

namespace hvd {

// Collective. `memory` is used during the call only.
// `name` is what Transport::name() answers; a string literal.
Result<std::unique_ptr<Transport>> open_stream_transport(MemoryExchange& memory, const char* name,
                                                         Deadline deadline);

// The two halves of open_stream_transport, for who has every rank's memory in
// one hand. segments[r] is rank r's: zeroed, at least stream_segment_bytes(size)
// long, used for nothing else; the Transport keeps it mapped.
std::size_t stream_segment_bytes(int size);
Result<std::unique_ptr<Transport>> make_stream_transport(int rank, std::vector<MappedMemory> segments,
                                                         const char* name);

}  // namespace hvd
