#include "launcher/descendants.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>

#include "horovod_cpp/base/unique_fd.h"

namespace hvd::launcher {

std::optional<ProcessEntry> parse_process_stat(std::string_view stat) {
  const std::size_t name_end = stat.rfind(')');
  if (name_end == stat.npos) return std::nullopt;
  ProcessEntry entry;
  // After the name: state ppid pgrp session tty_nr tpgid flags minflt cminflt majflt cmajflt utime stime
  // cutime cstime priority nice num_threads itrealvalue starttime (proc(5)).
  const std::string rest(stat.substr(name_end + 1));
  if (std::sscanf(std::string(stat.substr(0, name_end)).c_str(), "%d", &entry.pid) != 1) return std::nullopt;
  const int read = std::sscanf(
      rest.c_str(), " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
      &entry.state, &entry.parent, &entry.start_time);
  if (read != 3) return std::nullopt;
  return entry;
}

std::vector<ProcessEntry> list_processes() {
  std::vector<ProcessEntry> processes;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir("/proc"), closedir);
  if (folder == nullptr) return processes;
  while (const dirent* const entry = readdir(folder.get())) {
    if (std::isdigit(static_cast<unsigned char>(entry->d_name[0])) == 0) continue;
    const UniqueFd file(
        open((std::string("/proc/") + entry->d_name + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.is_open()) continue;
    char bytes[1024];
    const ssize_t length = read(file.get(), bytes, sizeof bytes);
    if (length <= 0) continue;
    if (const auto process = parse_process_stat({bytes, static_cast<std::size_t>(length)}))
      processes.push_back(*process);
  }
  return processes;
}

std::vector<ProcessEntry> descendants_of(pid_t root, const std::vector<ProcessEntry>& all,
                                         const std::vector<ProcessEntry>& excluded) {
  std::unordered_multimap<pid_t, const ProcessEntry*> children;
  for (const auto& process : all) children.emplace(process.parent, &process);
  std::vector<ProcessEntry> found;
  std::vector<pid_t> parents{root};
  std::set<pid_t> seen{root};  // a snapshot of a moving tree might hold a cycle
  while (!parents.empty()) {
    const auto [first, last] = children.equal_range(parents.back());
    parents.pop_back();
    for (auto child = first; child != last; ++child) {
      const ProcessEntry& process = *child->second;
      const bool is_excluded = std::any_of(excluded.begin(), excluded.end(), [&](const ProcessEntry& other) {
        return other.pid == process.pid && other.start_time == process.start_time;
      });
      if (is_excluded || !seen.insert(process.pid).second) continue;
      if (process.state != 'Z' && process.state != 'X') found.push_back(process);
      parents.push_back(process.pid);
    }
  }
  return found;
}

std::size_t signal_descendants(int signal, const std::vector<ProcessEntry>& excluded) {
  const auto found = descendants_of(getpid(), list_processes(), excluded);
  for (const auto& process : found) {
    kill(process.pid, signal);
    if (signal != SIGKILL) kill(process.pid, SIGCONT);
  }
  return found.size();
}

bool kill_descendants(const std::vector<ProcessEntry>& excluded, Deadline deadline) {
  while (true) {
    pid_t reaped = 0;
    do {
      reaped = waitpid(-1, nullptr, WNOHANG);
    } while (reaped > 0 || (reaped < 0 && errno == EINTR));
    if (reaped < 0) return true;
    if (signal_descendants(SIGKILL, excluded) == 0 && !excluded.empty()) return true;
    if (deadline.passed()) return false;
    poll(nullptr, 0, 5);
  }
}

}  // namespace hvd::launcher
