#include "horovod_cpp/coordinator/process_sets.h"

#include <algorithm>
#include <numeric>

namespace hvd {

ProcessSets::ProcessSets(int size) {
  std::vector<int>& all = members_[kAllRanks];
  all.resize(static_cast<std::size_t>(size));
  std::iota(all.begin(), all.end(), 0);
}

int ProcessSets::add(std::vector<int> members) {
  members_.emplace(next_id_, std::move(members));
  return next_id_++;
}

void ProcessSets::remove(int id) { members_.erase(id); }

const std::vector<int>* ProcessSets::members(int id) const {
  const auto found = members_.find(id);
  return found == members_.end() ? nullptr : &found->second;
}

int position_in(std::span<const int> members, int rank) {
  const auto found = std::lower_bound(members.begin(), members.end(), rank);
  return found == members.end() || *found != rank ? -1 : static_cast<int>(found - members.begin());
}

}  // namespace hvd
