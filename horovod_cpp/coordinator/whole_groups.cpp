#include "horovod_cpp/coordinator/whole_groups.h"

#include <map>
#include <string>
#include <utility>

#include "horovod_cpp/base/text.h"

namespace hvd {

void refuse_broken_groups(std::vector<Begun>& begun) {
  std::map<std::pair<int, std::string>, std::vector<Begun*>> groups;
  for (Begun& one : begun) {
    if (!one.declaration || one.declaration->group.empty()) continue;
    groups[{one.declaration->process_set, one.declaration->group}].push_back(&one);
  }
  for (const auto& [key, members] : groups) {
    const auto size = static_cast<std::size_t>(members.front()->declaration->group_size);
    if (members.size() == size) continue;
    for (Begun* member : members) {
      member->status = Status::invalid_argument(text(
          describe(*member->declaration), ": ", members.size(), " of the ", size, " operations of group '",
          key.second, "' could start in this call; submit all of them at once"));
    }
  }
}

}  // namespace hvd
