// Which cores and how many OpenMP threads each rank gets. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace hvd::launcher {

// A processor that hvdrun may use, and where it sits.
struct Cpu {
  int id = 0;       // number of the logical processor
  int package = 0;  // socket
  int core = 0;     // core within the socket; two hardware threads share one
};

struct CorePlan {
  // cpus[rank]: logical processors of the rank, ascending. Empty altogether: ranks are not bound.
  std::vector<std::vector<int>> cpus;
  // OMP_NUM_THREADS for every rank; nothing if the user has set it.
  std::optional<int> omp_threads;
};

// Equal shares of `allowed` (so that no rank is faster than another; a remainder stays
// unused), neighbours together: the hardware threads of a core and the cores of a socket
// go to the same rank where the numbers allow it. Ranks are not bound if they outnumber
// the processors or `bind` is false. `user_omp_threads`: OMP_NUM_THREADS of hvdrun's own
// environment. `num_proc` ≥ 1; `allowed` may be empty (unknown): then nobody is bound.
CorePlan plan_cores(std::vector<Cpu> allowed, int num_proc, bool bind,
                    const std::optional<std::string>& user_omp_threads);

// "0-2,5"
std::string name_of_cpus(const std::vector<int>& cpus);

}  // namespace hvd::launcher
