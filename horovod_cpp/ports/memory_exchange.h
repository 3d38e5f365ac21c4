// MemoryExchange [port]: memory of each rank that all ranks of the host can read and write.
//
// Threading: one thread at a time. Collective: all ranks call allocate in the same order.
// Ownership: the memory lives as long as any MappedMemory of it, on any rank; nothing has a name in the file system, so nothing
// is left behind however a process ends.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"

namespace hvd {

struct MappedMemory {
  std::byte* data = nullptr;  // page-aligned
  std::size_t size_bytes = 0;
  std::shared_ptr<void> mapping;  // unmapped with the last copy
  // Of this rank's own memory only, and only if there is one: the file that is mapped, from its beginning.
  std::shared_ptr<const UniqueFd> file = nullptr;
};

class MemoryExchange {
 public:
  virtual ~MemoryExchange() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Allocates `bytes` of zeroed memory for this rank (ranks may differ) and maps everybody's: result[r] is rank r's memory. unavailable if a
  // rank has not the memory, on all that hear of it: the next call may go well. Any other failure is kept.
  virtual Result<std::vector<MappedMemory>> allocate(std::size_t bytes, Deadline deadline) = 0;

  // The same among some ranks only: rank i of it is members[i] of this one (ascending, at least one). Called by all members in the
  // same order; nullptr on others, which need not call. Waits for nobody. This one may be gone before it. A rank's allocate calls on
  // an exchange and its subgroups must come in an order that is the same for every two ranks.
  virtual Result<std::unique_ptr<MemoryExchange>> subgroup(std::span<const int> members) = 0;
};

}  // namespace hvd
