#include "tests/bench/machine.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <ctime>
#include <fstream>
#include <sstream>

#include "horovod_cpp/base/text.h"

namespace hvd::bench {
namespace {

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\"");
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\"\n") - begin + 1);
}

// What follows the first `key` and `separator` in a file of the system.
std::string value_in(const char* file, const std::string& key, char separator) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    const auto at = line.find(separator);
    if (at != line.npos && trimmed(line.substr(0, at)) == key) return trimmed(line.substr(at + 1));
  }
  return {};
}

std::uint64_t memory_bytes(const char* key) {
  return std::strtoull(value_in("/proc/meminfo", key, ':').c_str(), nullptr, 10) * 1024;
}

std::string last_level_cache() {
  std::uint64_t kibibytes = 0;
  for (int i = 0; i < 8; ++i)
    std::ifstream(text("/sys/devices/system/cpu/cpu0/cache/index", i, "/size")) >> kibibytes;
  return kibibytes == 0 ? "" : text(static_cast<double>(kibibytes) / 1024, " MiB");
}

}  // namespace

MachineFacts machine_facts() {
  MachineFacts facts;
  facts.cpu = value_in("/proc/cpuinfo", "model name", ':');
  facts.cores = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  facts.last_level_cache = last_level_cache();
  facts.memory_bytes = memory_bytes("MemTotal");
  utsname names{};
  if (::uname(&names) == 0) facts.kernel = names.release;
  facts.system = value_in("/etc/os-release", "PRETTY_NAME", '=');
#if defined(__clang__)
  facts.compiler = text("clang ", __clang_major__, ".", __clang_minor__);
#else
  facts.compiler = text("gcc ", __GNUC__, ".", __GNUC_MINOR__);
#endif
  std::array<char, 32> date{};
  const std::time_t now = std::time(nullptr);
  tm utc{};
  ::gmtime_r(&now, &utc);
  std::strftime(date.data(), date.size(), "%Y-%m-%d %H:%M UTC", &utc);
  facts.date = date.data();
  return facts;
}

CpuTimes parse_cpu_times(std::string_view line, long ticks_per_second) {
  // cpu user nice system idle iowait irq softirq steal guest guest_nice; user contains guest (proc(5)).
  std::istringstream words{std::string(line)};
  std::string name;
  std::array<std::uint64_t, 8> ticks{};
  words >> name;
  for (auto& value : ticks) words >> value;
  const auto seconds = [&](std::uint64_t count) {
    return static_cast<double>(count) / static_cast<double>(ticks_per_second);
  };
  return {.busy_seconds = seconds(ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]),
          .steal_seconds = seconds(ticks[7])};
}

CpuTimes cpu_times() {
  std::ifstream file("/proc/stat");
  std::string line;
  std::getline(file, line);
  return parse_cpu_times(line, ::sysconf(_SC_CLK_TCK));
}

double load_average() {
  double load = 0;
  std::ifstream("/proc/loadavg") >> load;
  return load;
}

std::uint64_t available_memory_bytes() { return memory_bytes("MemAvailable"); }

}  // namespace hvd::bench
