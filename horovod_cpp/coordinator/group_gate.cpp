#include "horovod_cpp/coordinator/group_gate.h"

#include <algorithm>

namespace hvd {

std::vector<Agreement> GroupGate::pass(std::vector<Agreement> ended) {
  std::vector<Agreement> out;
  out.reserve(ended.size());
  for (Agreement& agreement : ended) {
    const Declaration& declaration = *agreement.declaration;
    if (declaration.group.empty()) {
      out.push_back(std::move(agreement));
      continue;
    }
    const auto group =
        held_.try_emplace(std::pair(declaration.process_set, declaration.group), std::vector<Agreement>{})
            .first;
    std::vector<Agreement>& members = group->second;
    const auto size = static_cast<std::size_t>(declaration.group_size);
    members.push_back(std::move(agreement));
    if (members.size() < size) continue;
    const auto failed = std::find_if(members.begin(), members.end(),
                                     [](const Agreement& one) { return !one.status.is_ok(); });
    const Status status = failed == members.end() ? Status() : failed->status;
    for (Agreement& member : members) {
      member.status = status;
      out.push_back(std::move(member));
    }
    held_.erase(group);
  }
  return out;
}

}  // namespace hvd
