// The machine that a benchmark runs on: what it is, and what else happens on it meanwhile.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hvd::bench {

struct MachineFacts {
  std::string cpu;
  int cores = 0;
  std::string last_level_cache;  // "32 MiB"; empty if unknown
  std::uint64_t memory_bytes = 0;
  std::string kernel;
  std::string system;    // "Debian GNU/Linux 12 (bookworm)"
  std::string compiler;  // of this program
  std::string date;      // UTC
};
MachineFacts machine_facts();

// Since boot, over all cores.
struct CpuTimes {
  double busy_seconds = 0;   // of all processes
  double steal_seconds = 0;  // the hypervisor gave the core to others
};
// The first line of /proc/stat, whose unit is the clock tick.
CpuTimes parse_cpu_times(std::string_view line, long ticks_per_second);
CpuTimes cpu_times();

double load_average();  // of the last minute
std::uint64_t available_memory_bytes();

}  // namespace hvd::bench
