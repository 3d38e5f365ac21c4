#include "launcher/roster.h"

#include <algorithm>

namespace hvd::launcher {

std::optional<int> Roster::ended(pid_t pid) {
  const auto found = running_.find(pid);
  if (found == running_.end()) return std::nullopt;
  const int rank = found->second;
  running_.erase(found);
  return rank;
}

std::map<pid_t, int> Roster::give_up(const std::vector<int>& ranks) {
  std::map<pid_t, int> news;
  for (const auto& [pid, rank] : running_) {
    const bool is_meant = std::find(ranks.begin(), ranks.end(), rank) != ranks.end();
    if (is_meant && given_up_.insert(rank).second) news.emplace(pid, rank);
  }
  return news;
}

std::vector<int> Roster::left() const {
  std::vector<int> left;
  for (const auto& [pid, rank] : running_) {
    if (!was_given_up(rank)) left.push_back(rank);
  }
  std::sort(left.begin(), left.end());
  return left;
}

}  // namespace hvd::launcher
