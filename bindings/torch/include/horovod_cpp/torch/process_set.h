// Process sets: groups of ranks that communicate among themselves.
//
//   const hvd::ProcessSet pair = hvd::add_process_set({0, 1});     // on every rank, members or not
//   if (pair.includes_me()) hvd::allreduce_(tensor, {.process_set = pair});
//
// Sets may overlap; each has a channel of its own. Names of operations belong to their set. Root ranks are ranks of the whole job, also in
// a set.
// Threading: values; the functions may be called from any thread, but all ranks add and remove sets in the same order.
// Errors: errors.h.
#pragma once

#include <memory>
#include <vector>

#include "horovod_cpp/torch/context.h"

namespace hvd {

class ProcessSet {
 public:
  ProcessSet() = default;  // all ranks

  int id() const { return id_; }  // 0: all ranks
  // Ascending ranks of the job.
  std::vector<int> ranks() const;
  int size() const { return static_cast<int>(ranks().size()); }
  // This process's number within the set; -1 if it is not a member.
  int rank() const;
  bool includes_me() const { return rank() >= 0; }

 private:
  friend ProcessSet add_process_set(const std::vector<int>& ranks, const std::shared_ptr<Context>& context);
  std::shared_ptr<Context> context_;  // nullptr: the process's own
  int id_ = 0;
};

// Collective over all ranks of the job, members or not, with the same ranks, in any order. The same ranks once more are a set of their own,
// with names and numbers of its own. After hvd::shutdown() sets are gone. `context`: nullptr: the process's own, of hvd::init().
ProcessSet add_process_set(const std::vector<int>& ranks, const std::shared_ptr<Context>& context = nullptr);
// Collective over all ranks of the job. Wait for the set's operations first: those that are pending end with MismatchError.
void remove_process_set(const ProcessSet& set, const std::shared_ptr<Context>& context = nullptr);

}  // namespace hvd
