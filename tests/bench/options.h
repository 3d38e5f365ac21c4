// The command line of hvd_bench.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/bench/conductor.h"

namespace hvd::bench {

struct Options {
  Plan plan;
  std::uint64_t seed = 0;
  std::string json;  // files; empty: none
  std::string html;
  std::string peers;
  std::string python;
  std::string sources;
  bool prints_peers = false;  // only says which peers must be installed
};

// Ends the process for --help and for a command line that makes no sense, which is explained.
Options read_options(int argc, char** argv);

}  // namespace hvd::bench
