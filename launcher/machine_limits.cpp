#include "launcher/machine_limits.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "horovod_cpp/base/text.h"

namespace hvd::launcher {
namespace {

// What the supervisor holds beside its standard streams: the front's pipe and a terminal's, signals, the pipe
// of failed starts, deaths, the key, /dev/null and the rendezvous server (16); and what one start needs.
constexpr long long kOwnDescriptors = 20;

long long number_in(const std::string& file) {
  std::ifstream in(file);
  long long number = 0;
  return in >> number ? number : MachineLimits::kNone;  // also "max"
}

void take_lower(MachineLimits& limits, long long processes, const std::string& why) {
  if (processes >= limits.processes) return;
  limits.processes = std::max(0LL, processes);
  limits.processes_limit = why;
}

// Of the control group, as containers set it; version 1 and 2.
void read_pids_of_group(MachineLimits& limits) {
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == line.npos) continue;
    const std::string controller = line.substr(first + 1, second - first - 1);
    if (!controller.empty() && controller != "pids") continue;
    const std::string folder =
        text("/sys/fs/cgroup/", controller, controller.empty() ? "" : "/", line.substr(second + 2), "/");
    const long long most = number_in(folder + "pids.max");
    if (most == MachineLimits::kNone) continue;
    const long long now = number_in(folder + "pids.current");
    take_lower(limits, most - (now == MachineLimits::kNone ? 0 : now), folder + "pids.max");
  }
}

}  // namespace

MachineLimits read_machine_limits() {
  MachineLimits limits;
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY)
    limits.open_files = static_cast<long long>(files.rlim_cur);
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", error), end; !error && entry != end;
       entry.increment(error)) {
    ++limits.open_now;
  }
  limits.open_now = std::max(0LL, limits.open_now - 1);  // without the iterator's own
  rlimit processes{};
  // root is exempt.
  if (geteuid() != 0 && getrlimit(RLIMIT_NPROC, &processes) == 0 && processes.rlim_cur != RLIM_INFINITY)
    take_lower(limits, static_cast<long long>(processes.rlim_cur), "ulimit -u");
  take_lower(limits, number_in("/proc/sys/kernel/pid_max"), "/proc/sys/kernel/pid_max");
  take_lower(limits, number_in("/proc/sys/kernel/threads-max"), "/proc/sys/kernel/threads-max");
  read_pids_of_group(limits);
  return limits;
}

Status check_machine_limits(const JobOptions& options, const MachineLimits& limits) {
  const long long ranks = options.num_proc;
  // Its streams, its process, its connection; its files.
  const long long per_rank = options.output_directory.empty() ? 4 : 6;
  const long long fixed = limits.open_now + kOwnDescriptors;
  const long long files = fixed + ranks * per_rank;
  if (files > limits.open_files) {
    return Status::invalid_argument(
        text("-np ", ranks, ": hvdrun needs ", files, " open files for so many ranks, and may have ",
             limits.open_files, ": enough for ", std::max(0LL, (limits.open_files - fixed) / per_rank),
             ". Raise the limit (ulimit -Hn and ulimit -n), or start fewer ranks"));
  }
  // The supervisor is one more.
  if (ranks + 1 > limits.processes) {
    return Status::invalid_argument(text("-np ", ranks, ": this machine lets hvdrun start ", limits.processes,
                                         " more processes at most (", limits.processes_limit,
                                         "), and one is its own. Raise the limit, or start fewer ranks"));
  }
  return {};
}

}  // namespace hvd::launcher
