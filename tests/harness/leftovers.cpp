#include "tests/harness/leftovers.h"

#include <dirent.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

namespace fs = std::filesystem;

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<pid_t> living_processes() {
  std::vector<pid_t> pids;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") == std::string::npos) pids.push_back(std::atoi(name.c_str()));
  }
  return pids;
}

// The state letter of /proc/pid/stat; the name before it is in brackets and may hold anything.
char state_of(pid_t pid) {
  const std::string stat = read_file(text("/proc/", pid, "/stat"));
  const auto bracket = stat.rfind(')');
  return bracket == std::string::npos || bracket + 2 >= stat.size() ? 'X' : stat[bracket + 2];
}

bool is_dead(char state) { return state == 'Z' || state == 'X'; }

bool is_in_use(const std::string& file) {
  for (const pid_t pid : living_processes()) {
    if (read_file(text("/proc/", pid, "/maps")).find(file) != std::string::npos) return true;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(text("/proc/", pid, "/fd"), ignored)) {
      if (fs::read_symlink(entry.path(), ignored) == file) return true;
    }
  }
  return false;
}

}  // namespace

std::vector<pid_t> processes_with(const std::string& name, const std::string& value) {
  const std::string variable = text(name, "=", value);
  std::vector<pid_t> found;
  for (const pid_t pid : living_processes()) {
    std::istringstream environment(read_file(text("/proc/", pid, "/environ")));
    for (std::string entry; std::getline(environment, entry, '\0');) {
      if (entry != variable) continue;
      if (!is_dead(state_of(pid))) found.push_back(pid);
      break;
    }
  }
  return found;
}

std::string describe_process(pid_t pid) {
  std::string command = read_file(text("/proc/", pid, "/cmdline"));
  std::replace(command.begin(), command.end(), '\0', ' ');
  return text("pid ", pid, " (", state_of(pid), "): ", command);
}

std::set<std::string> shared_files() {
  std::set<std::string> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/dev/shm", ignored)) files.insert(entry.path());
  for (const auto& entry : fs::directory_iterator("/tmp", ignored)) {
    const std::string name = entry.path().filename();
    const bool is_ours = name.find("hvd") != std::string::npos || name.find("horovod") != std::string::npos;
    if (is_ours && name.find("-test-") == std::string::npos) files.insert(entry.path());
  }
  return files;
}

std::vector<std::string> abandoned_files(const std::set<std::string>& before) {
  std::vector<std::string> abandoned;
  for (const std::string& file : shared_files()) {
    if (before.contains(file) || is_in_use(file)) continue;
    // Its program may have ended, and removed it, between the two looks.
    std::error_code ignored;
    if (fs::exists(fs::symlink_status(file, ignored))) abandoned.push_back(file);
  }
  return abandoned;
}

}  // namespace hvd
