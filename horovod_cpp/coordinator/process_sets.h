// Process sets: which ranks take part in an operation. A value; one thread at a time.
//
// Set 0 is all ranks, always. Further sets get ids in the order in which they are added, the same on every rank, and an id is never given
// again.
#pragma once

#include <map>
#include <span>
#include <vector>

namespace hvd {

class ProcessSets {
 public:
  static constexpr int kAllRanks = 0;

  explicit ProcessSets(int size);

  // The new set's id. `members` are ascending ranks.
  int add(std::vector<int> members);
  void remove(int id);
  // nullptr if there is no such set.
  const std::vector<int>* members(int id) const;

 private:
  std::map<int, std::vector<int>> members_;
  int next_id_ = kAllRanks + 1;
};

// Where `rank` stands among ascending members: its rank within the set; -1 if it is not among them.
int position_in(std::span<const int> members, int rank);

}  // namespace hvd
