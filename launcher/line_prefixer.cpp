#include "launcher/line_prefixer.h"

#include <algorithm>

namespace hvd::launcher {

void LinePrefixer::emit(std::string_view line, std::string_view end, std::string_view prefix,
                        std::string& out) const {
  out += prefix;
  out += line;
  out += end;
}

void LinePrefixer::append(std::string_view bytes, std::string_view prefix, std::string& out) {
  while (!bytes.empty()) {
    if (after_return_) {
      after_return_ = false;
      if (bytes.front() == '\n') {
        held_ += '\n';
        emit(held_, "", prefix, out);
        held_.clear();
        bytes.remove_prefix(1);
        continue;
      }
      held_.pop_back();
      if (carriage_return_ == CarriageReturn::keep) {
        emit(held_, "\r", held_.empty() ? "" : prefix, out);
      } else if (!held_.empty()) {
        emit(held_, "\n", prefix, out);
      }
      held_.clear();
    }
    const std::size_t room = longest_line_bytes_ - std::min(held_.size(), longest_line_bytes_);
    const std::size_t end = bytes.find_first_of("\r\n");
    if (std::min(end, bytes.size()) > room) {
      held_ += bytes.substr(0, room);
      emit(held_, "\n", prefix, out);
      held_.clear();
      bytes.remove_prefix(room);
      continue;
    }
    if (end == std::string_view::npos) {
      held_ += bytes;
      return;
    }
    held_ += bytes.substr(0, end + 1);
    if (bytes[end] == '\n') {
      emit(held_, "", prefix, out);
      held_.clear();
    } else {
      after_return_ = true;
    }
    bytes.remove_prefix(end + 1);
  }
}

void LinePrefixer::finish(std::string_view prefix, std::string& out) {
  if (after_return_) held_.pop_back();
  if (!held_.empty()) emit(held_, "\n", prefix, out);
  held_.clear();
  after_return_ = false;
}

}  // namespace hvd::launcher
