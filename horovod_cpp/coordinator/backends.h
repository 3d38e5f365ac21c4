// Backends: what reduces and moves tensors, for each process set and device type.
//
// Threading: open, close and find belong to the coordinator's thread; abort may be called from any thread, never blocks.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/ports/collectives.h"

namespace hvd {

class Backends {
 public:
  // `of_all_ranks`: at most one for each device type; not owned.
  explicit Backends(std::vector<Collectives*> of_all_ranks);

  // Collective over all ranks, also those that are not among the members.
  Status open(int process_set, std::span<const int> members, Deadline deadline);
  void close(int process_set);
  void close_all();
  // nullptr: there is none for this device type.
  Collectives* find(int process_set, DeviceType type) const;

  // Ends those of process sets (the others are somebody else's), also such that open later.
  void abort(const Status& why);

 private:
  std::vector<Collectives*> of_all_ranks_;
  std::mutex mutex_;  // of_sets_ changes, or is walked by abort
  std::map<int, std::vector<std::unique_ptr<Collectives>>> of_sets_;
  Status aborted_;
};

}  // namespace hvd
