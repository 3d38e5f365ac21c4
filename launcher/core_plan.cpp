#include "launcher/core_plan.h"

#include <algorithm>
#include <tuple>

namespace hvd::launcher {

CorePlan plan_cores(std::vector<Cpu> allowed, int num_proc, bool bind,
                    const std::optional<std::string>& user_omp_threads) {
  CorePlan plan;
  const auto ranks = static_cast<std::size_t>(num_proc);
  const std::size_t share = allowed.size() / ranks;
  if (!user_omp_threads || user_omp_threads->empty()) plan.omp_threads = std::max(1, static_cast<int>(share));
  if (!bind || share == 0) return plan;

  std::sort(allowed.begin(), allowed.end(), [](const Cpu& a, const Cpu& b) {
    return std::tie(a.package, a.core, a.id) < std::tie(b.package, b.core, b.id);
  });
  plan.cpus.resize(ranks);
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    for (std::size_t i = 0; i < share; ++i) plan.cpus[rank].push_back(allowed[rank * share + i].id);
    std::sort(plan.cpus[rank].begin(), plan.cpus[rank].end());
  }
  return plan;
}

std::string name_of_cpus(const std::vector<int>& cpus) {
  std::string name;
  for (std::size_t first = 0; first < cpus.size();) {
    std::size_t last = first;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    if (!name.empty()) name += ',';
    name += std::to_string(cpus[first]);
    if (last > first) name += '-' + std::to_string(cpus[last]);
    first = last + 1;
  }
  return name;
}

}  // namespace hvd::launcher
