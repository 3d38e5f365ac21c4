#include "launcher/running_jobs.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <vector>

#include "horovod_cpp/base/text.h"
#include "launcher/descendants.h"

namespace hvd::launcher {
namespace {

constexpr const char* kSupervisor = "hvd-supervisor";

std::string name_of_process(pid_t pid) {
  std::ifstream file(text("/proc/", pid, "/comm"));
  std::string name;
  std::getline(file, name);
  return name;
}

bool is_ours(pid_t pid) {
  struct stat info{};
  return ::stat(text("/proc/", pid).c_str(), &info) == 0 && (info.st_uid == ::geteuid() || ::geteuid() == 0);
}

// Whether it has a handler for the signal.
bool catches(pid_t pid, int signal) {
  std::ifstream file(text("/proc/", pid, "/status"));
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with("SigCgt:")) continue;
    const std::uint64_t mask = std::stoull(line.substr(7), nullptr, 16);
    return ((mask >> static_cast<unsigned>(signal - 1)) & 1U) != 0;
  }
  return false;
}

// Front processes: those with a supervisor.
std::vector<pid_t> running_launchers(const std::vector<ProcessEntry>& all) {
  std::vector<pid_t> found;
  for (const ProcessEntry& entry : all) {
    if (name_of_process(entry.pid) == kSupervisor && is_ours(entry.pid)) found.push_back(entry.parent);
  }
  return found;
}

}  // namespace

Result<std::string> ask_for_pictures(int process) {
  const auto all = list_processes();
  const auto running = running_launchers(all);
  if (process != 0 && std::find(running.begin(), running.end(), process) == running.end()) {
    return Status::unavailable(text("--dump ", process, ": no hvdrun of yours runs as process ", process));
  }
  if (process == 0 && running.size() != 1) {
    std::string which;
    for (const pid_t pid : running) which += text(which.empty() ? ": " : ", ", pid);
    return Status::unavailable(
        running.empty() ? std::string("--dump: no hvdrun of yours is running on this host")
                        : text("--dump: several hvdruns are running", which, ". Say which: --dump PID"));
  }
  const pid_t launcher = process != 0 ? process : running.front();
  int asked = 0;
  for (const ProcessEntry& entry : descendants_of(launcher, all)) {
    if (catches(entry.pid, SIGUSR1) && ::kill(entry.pid, SIGUSR1) == 0) ++asked;
  }
  if (asked == 0) {
    return Status::unavailable(text("--dump: no rank of hvdrun ", launcher,
                                    " answers: none has called hvd::init(), or they use SIGUSR1 themselves"));
  }
  return text("asked ", asked, asked == 1 ? " process" : " processes", " of hvdrun ", launcher,
              "; the answer comes on its standard error");
}

}  // namespace hvd::launcher
