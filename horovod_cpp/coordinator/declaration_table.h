// Declaration table: what this rank has declared, which names are pending, and which process sets there are. Thread-safe.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/coordinator/declaration.h"
#include "horovod_cpp/coordinator/process_sets.h"
#include "horovod_cpp/coordinator/submission.h"

namespace hvd {

class DeclarationTable {
 public:
  DeclarationTable(int rank, int size) : rank_(rank), sets_(size) {}

  // The id of this exact declaration, made at its first appearance. A name may have several, one pending at a time.
  Result<TensorId> declare(const Declaration& declaration);
  // Marks the name pending and returns its declaration; invalid_argument if the id is unknown, the name is pending already, the extents do
  // not fit, or the process set is being removed.
  Result<std::shared_ptr<const Declaration>> begin(TensorId id, const Extents& extents = {});
  // The name may be submitted again.
  void end(TensorId id);

  // What has begun and not ended, the oldest first.
  struct Pending {
    std::shared_ptr<const Declaration> declaration;
    std::chrono::steady_clock::time_point since;
  };
  std::vector<Pending> pending() const;
  // nullptr: no such id.
  std::shared_ptr<const Declaration> find(TensorId id) const;

  // Sets that all ranks have agreed on, in that order.
  void add_process_set(std::vector<int> members);
  void remove_process_set(int id);
  // Nothing if there is no such set.
  std::optional<std::vector<int>> members(int process_set) const;

 private:
  struct Name {
    std::vector<std::int32_t> versions;
    bool is_pending = false;
    std::int32_t pending_version = -1;
    std::chrono::steady_clock::time_point pending_since;
  };
  struct Entry {
    std::shared_ptr<const Declaration> declaration;
    Name* name;
  };

  Result<const std::vector<int>*> find_members(const Declaration& declaration) const;

  const int rank_;
  mutable std::mutex mutex_;
  std::deque<Entry> entries_;                          // by TensorId
  std::map<std::pair<int, std::string>, Name> names_;  // by process set and name
  ProcessSets sets_;
  std::set<int> being_removed_;
};

}  // namespace hvd
