#include "launcher/timeline_merge.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "horovod_cpp/base/text.h"

namespace hvd::launcher {
namespace {

std::string part_of(const std::string& file, int rank) { return text(file, ".rank", rank); }

bool exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

}  // namespace

void append_events(std::istream& part, std::ostream& out, std::size_t& count) {
  std::string line;
  while (std::getline(part, line)) {
    if (part.eof()) return;  // no end of line: cut
    const std::size_t last = line.find_last_not_of(",] \r");
    if (last == line.npos || line.front() != '{' || line[last] != '}') continue;
    line.resize(last + 1);
    out << (count++ == 0 ? "" : ",\n") << line;
  }
}

Status merge_timeline(const std::string& file, int ranks) {
  const std::string unfinished = file + ".merging";
  std::ofstream out(unfinished, std::ios::binary | std::ios::trunc);
  out << "[\n";
  std::size_t count = 0;
  int parts = 0;
  std::string missing;
  for (int rank = 0; ranks == 0 ? exists(part_of(file, rank)) : rank < ranks; ++rank) {
    std::ifstream part(part_of(file, rank), std::ios::binary);
    if (part.is_open()) {
      ++parts;
      append_events(part, out, count);
    } else {
      missing += text(missing.empty() ? "" : ", ", rank);
    }
  }
  out << "\n]\n";
  out.close();
  std::error_code error;
  if (parts == 0) {
    std::filesystem::remove(unfinished, error);
    return Status::unavailable(text("there is no timeline to put together: no ", part_of(file, 0),
                                    " was written. Do the ranks call hvd::init()?"));
  }
  if (out.fail() || std::rename(unfinished.c_str(), file.c_str()) != 0) {
    const std::string why = std::strerror(errno);
    std::filesystem::remove(unfinished, error);
    return Status::unavailable(text("the timelines of the ranks, ", part_of(file, 0),
                                    " and so on, cannot be put together in ", file, ": ", why));
  }
  for (int rank = 0; ranks == 0 ? exists(part_of(file, rank)) : rank < ranks; ++rank)
    std::filesystem::remove(part_of(file, rank), error);
  if (missing.empty()) return {};
  return Status::unavailable(text(file, " lacks ranks that wrote no timeline: ", missing));
}

void remove_timeline_parts(const std::string& file, int ranks) {
  std::error_code error;
  for (int rank = 0; rank < ranks; ++rank) std::filesystem::remove(part_of(file, rank), error);
}

}  // namespace hvd::launcher
