// A folder for what contenders leave: in shared memory, as some put files there that they map. Removed at the end.
#pragma once

#include <string>

#include "horovod_cpp/base/status.h"

namespace hvd::bench {

class ScratchFolder {
 public:
  // Also removes those of runs that were killed.
  static Result<ScratchFolder> create();
  ScratchFolder(ScratchFolder&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ~ScratchFolder();

  const std::string& path() const { return path_; }

 private:
  explicit ScratchFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace hvd::bench
