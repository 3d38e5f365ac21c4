// Pending: what Python holds of a submitted operation. A value; the GIL guards it.
#pragma once

#include <memory>
#include <optional>

#include "bindings/python/gathered_memory.h"
#include "horovod_cpp/work.h"

namespace hvd {

class Pending {
 public:
  Work work;
  std::shared_ptr<GatheredMemory> gathered = nullptr;  // allgather, alltoall

  // Until the operation is done, `timeout_s` seconds at most (none: no limit). Raises the operation's failure.
  void wait(std::optional<double> timeout_s) const;
  // The same, whatever the outcome: whether the operation is done.
  bool join(std::optional<double> timeout_s) const;
};

}  // namespace hvd
