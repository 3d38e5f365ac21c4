// The outcome of a benchmark, for people and for programs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/bench/workload.h"

namespace hvd::bench {

struct Measured {
  std::string contender;
  std::vector<double> seconds;  // one a round
};

struct Outcome {
  std::string mpi;  // "Open MPI v4.1.4"
  Workload workload;
  int ranks = 0;
  std::uint64_t seed = 0;      // of the bootstrap
  std::vector<Measured> rows;  // ratios are taken to the first
};

std::string as_table(const Outcome& outcome);
std::string as_json(const Outcome& outcome);

}  // namespace hvd::bench
