#include "horovod_cpp/coordinator/backends.h"

#include <utility>

#include "horovod_cpp/coordinator/process_sets.h"

namespace hvd {

Backends::Backends(std::vector<Collectives*> of_all_ranks) : of_all_ranks_(std::move(of_all_ranks)) {}

Status Backends::open(int process_set, std::span<const int> members, Deadline deadline) {
  std::vector<std::unique_ptr<Collectives>> opened;
  for (Collectives* parent : of_all_ranks_) {
    auto subgroup = parent->subgroup(members, deadline);
    // Operations of such a set end with an error that says so; the rest of the job goes on.
    if (subgroup.status().code() == StatusCode::unimplemented) continue;
    HVD_RETURN_IF_ERROR(subgroup.status());
    if (subgroup.value()) opened.push_back(std::move(subgroup).value());
  }
  const std::lock_guard lock(mutex_);
  if (!aborted_.is_ok()) return aborted_;
  of_sets_[process_set] = std::move(opened);
  return {};
}

void Backends::close(int process_set) {
  decltype(of_sets_)::node_type closed;  // destroyed without the lock: abort must not wait for it
  const std::lock_guard lock(mutex_);
  closed = of_sets_.extract(process_set);
}

void Backends::close_all() {
  decltype(of_sets_) closed;
  const std::lock_guard lock(mutex_);
  closed.swap(of_sets_);
}

Collectives* Backends::find(int process_set, DeviceType type) const {
  if (process_set == ProcessSets::kAllRanks) {
    for (Collectives* backend : of_all_ranks_) {
      if (backend->device_type() == type) return backend;
    }
    return nullptr;
  }
  const auto set = of_sets_.find(process_set);
  if (set == of_sets_.end()) return nullptr;
  for (const auto& backend : set->second) {
    if (backend->device_type() == type) return backend.get();
  }
  return nullptr;
}

void Backends::abort(const Status& why) {
  const std::lock_guard lock(mutex_);
  aborted_ = why;
  for (const auto& [id, backends] : of_sets_) {
    for (const auto& backend : backends) backend->abort(why);
  }
}

}  // namespace hvd
