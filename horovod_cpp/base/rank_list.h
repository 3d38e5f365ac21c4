// "rank 3", "ranks 0, 2": ranks in messages.
#pragma once

#include <span>
#include <string>

#include "horovod_cpp/base/text.h"

namespace hvd {

inline std::string name_of_ranks(std::span<const int> ranks) {
  std::string out = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < ranks.size(); ++i) out += text(i == 0 ? "" : ", ", ranks[i]);
  return out;
}

}  // namespace hvd
