#include "tests/bench/scratch_folder.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "horovod_cpp/base/text.h"

namespace hvd::bench {
namespace {

namespace fs = std::filesystem;

const std::string kParent = "/dev/shm";
const std::string kPrefix = "hvd-bench-";

// Names are hvd-bench-PID-XXXXXX.
void remove_those_of_dead_runs() {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(kParent, ignored)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(kPrefix)) continue;
    const pid_t owner = static_cast<pid_t>(std::atol(name.c_str() + kPrefix.size()));
    if (owner > 0 && ::kill(owner, 0) != 0 && errno == ESRCH) fs::remove_all(entry.path(), ignored);
  }
}

}  // namespace

Result<ScratchFolder> ScratchFolder::create() {
  remove_those_of_dead_runs();
  std::string path = text(kParent, "/", kPrefix, ::getpid(), "-XXXXXX");
  if (::mkdtemp(path.data()) == nullptr) return Status::unavailable(text(path, ": ", std::strerror(errno)));
  return ScratchFolder(path);
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

}  // namespace hvd::bench
