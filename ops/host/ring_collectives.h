// Collectives on host memory over any Transport: the reference, and the only one that needs no shared memory.
//
// Allreduce: up to 8 KiB every rank gathers all inputs and reduces them itself. Beyond, the batch goes in
// windows; of each, a rank collects its part from all others, reduces it, and the results go around the ring.
// Either way an element moves no more often than in the classic ring, but is added in the order of ranks, in
// float32 for narrow floats, and once: the same bits as ops/shm, on all ranks and in all runs.
// Broadcast: a binomial tree up to 64 KiB, a pipelined chain beyond.
#pragma once

#include <memory>

#include "horovod_cpp/ports/collectives.h"
#include "horovod_cpp/ports/transport.h"

namespace hvd {

struct RingTuning {
  std::size_t small_bytes = std::size_t{8} << 10;  // allreduce: gathered up to here
  // allreduce: at most this of a window is one rank's; scratch is twice size() × this
  std::size_t part_bytes = std::size_t{1} << 20;
  std::size_t chain_bytes = std::size_t{64} << 10;  // broadcast: a tree up to here
  std::size_t link_bytes = std::size_t{256} << 10;  // broadcast: what one link of the chain holds
};

// `transport` is not owned, must outlive the result, and is used by nobody else.
std::unique_ptr<Collectives> make_ring_collectives(Transport& transport);
std::unique_ptr<Collectives> make_ring_collectives(Transport& transport, RingTuning tuning);
// `transport` is the result's own.
std::unique_ptr<Collectives> make_ring_collectives(std::unique_ptr<Transport> transport);

}  // namespace hvd
