#include "tests/bench/schedule.h"

namespace hvd::bench {
namespace {

std::uint64_t bytes_of(const Workload& workload, int ranks) {
  return workload.element_count() * sizeof(float) * static_cast<std::uint64_t>(ranks);
}

}  // namespace

int repetitions_in_a_turn(const Workload& workload) {
  if (workload.is_step() || workload.tensors.size() > 1) return 1;
  const std::size_t bytes = workload.element_count() * sizeof(float);
  if (bytes <= std::size_t{64} << 10U) return 15;
  if (bytes <= std::size_t{1} << 20U) return 7;
  if (bytes <= std::size_t{16} << 20U) return 3;
  return 1;
}

bool must_give_back(const Workload& workload, int ranks, std::size_t contenders,
                    std::uint64_t available_bytes) {
  // Twice: buffers, and what libraries copy them to.
  return 2 * bytes_of(workload, ranks) * contenders > available_bytes / 2;
}

bool fits(const Workload& workload, int ranks, std::uint64_t available_bytes) {
  return 5 * bytes_of(workload, ranks) < available_bytes;
}

std::vector<int> disturbed_rounds(const std::vector<RoundNotes>& rounds, int cores) {
  constexpr double kWindowSeconds = 0.2;
  constexpr double kShare = 0.05;
  constexpr double kTickSeconds = 0.01;
  std::vector<int> named;
  std::vector<int> window;
  RoundNotes sum;
  const auto close = [&] {
    const double others = sum.foreign_seconds + sum.steal_seconds;
    if (others > 2 * kTickSeconds && others > kShare * cores * sum.wall_seconds)
      named.insert(named.end(), window.begin(), window.end());
    window.clear();
    sum = {};
  };
  for (std::size_t i = 0; i < rounds.size(); ++i) {
    window.push_back(static_cast<int>(i));
    sum.wall_seconds += rounds[i].wall_seconds;
    sum.foreign_seconds += rounds[i].foreign_seconds;
    sum.steal_seconds += rounds[i].steal_seconds;
    if (sum.wall_seconds >= kWindowSeconds) close();
  }
  if (!window.empty()) close();
  return named;
}

}  // namespace hvd::bench
