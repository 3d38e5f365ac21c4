#include "launcher/cpu_topology.h"

#include <sched.h>

#include <cerrno>
#include <fstream>
#include <string>

namespace hvd::launcher {
namespace {

int read_number(const std::string& path, int fallback) {
  std::ifstream file(path);
  int value = 0;
  return file >> value ? value : fallback;
}

Cpu locate(int id) {
  const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(id) + "/topology/";
  return {id, read_number(folder + "physical_package_id", 0), read_number(folder + "core_id", id)};
}

}  // namespace

std::vector<Cpu> allowed_cpus() {
  std::vector<Cpu> cpus;
  for (int most = 1024; most <= 1 << 20; most *= 4) {
    cpu_set_t* const set = CPU_ALLOC(most);
    if (set == nullptr) return cpus;
    const std::size_t bytes = CPU_ALLOC_SIZE(most);
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    const bool too_small = !known && errno == EINVAL;
    for (int id = 0; known && id < most; ++id) {
      if (CPU_ISSET_S(static_cast<std::size_t>(id), bytes, set)) cpus.push_back(locate(id));
    }
    CPU_FREE(set);
    if (!too_small) return cpus;
  }
  return cpus;
}

}  // namespace hvd::launcher
