// Builds message text from pieces. (GCC 12 has no std::format.)
#pragma once

#include <sstream>
#include <string>

namespace hvd {

// Streams every piece into one string: text("rank ", 2, " died").
template <class... Pieces>
std::string text(const Pieces&... pieces) {
  std::ostringstream out;
  (out << ... << pieces);
  return out.str();
}

}  // namespace hvd
