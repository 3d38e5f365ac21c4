// Group gate: holds agreed operations back until their whole group is. Pure but for its memory, and the same on every rank.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "horovod_cpp/coordinator/agreement.h"

namespace hvd {

class GroupGate {
 public:
  // `ended` without the members of unfinished groups, and with those of groups that are whole now. If one member of a group failed, all end
  // with its error.
  std::vector<Agreement> pass(std::vector<Agreement> ended);

 private:
  std::map<std::pair<int, std::string>, std::vector<Agreement>> held_;  // by process set and group
};

}  // namespace hvd
