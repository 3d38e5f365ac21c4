// Collectives for ranks of one host, through memory that all of them map. README.md explains the algorithms.
//
// Bits: every element is reduced by exactly one rank (small batches: by every rank) in the order of ranks, so
// all ranks and all runs get the same.
#pragma once

#include <memory>

#include "horovod_cpp/base/futex.h"
#include "horovod_cpp/ports/collectives.h"
#include "horovod_cpp/ports/memory_exchange.h"

namespace hvd {

// The same on every rank. README.md has the measurements behind for_ranks().
struct ShmTuning {
  // A batch is cut into windows of at most this size;
  // rounded up to whole pages. Each rank shares four windows' memory.
  std::size_t window_bytes = std::size_t{256} << 10;
  // Up to this size every rank reduces the whole batch by itself. At most window_bytes.
  std::size_t small_bytes = std::size_t{16} << 10;
  static ShmTuning for_ranks(int ranks_on_host);
};

// Collective over the ranks of `memory`, which is kept for subgroups and used by subgroup() only.
Result<std::unique_ptr<Collectives>> open_shm_collectives(std::shared_ptr<MemoryExchange> memory,
                                                          Deadline deadline);
Result<std::unique_ptr<Collectives>> open_shm_collectives(std::shared_ptr<MemoryExchange> memory,
                                                          Deadline deadline, ShmTuning tuning,
                                                          SpinLimits spin);

}  // namespace hvd
