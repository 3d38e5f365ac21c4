// What a run of the benchmark found. Values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/bench/machine.h"
#include "tests/bench/schedule.h"

namespace hvd::bench {

struct Row {
  std::string key;
  std::string title;
  std::vector<double> seconds = {};  // one a round: the median of the turn's repetitions
  double idle_cores = 0;             // CPU that it used between its turns, in cores
  bool was_paused = false;           // … which is why it was stopped there
};

// A contender that has no row, and why.
struct LeftOut {
  std::string key;
  std::string reason;
};

// One workload at one number of ranks.
struct Cell {
  std::string workload;
  std::string batch;  // of a training step
  std::size_t tensors = 0;
  std::size_t bytes = 0;
  int ranks = 0;
  int repetitions = 1;         // a turn
  bool gave_back = false;      // pages, between turns
  std::vector<Row> rows = {};  // ratios are taken to the first
  std::vector<LeftOut> left_out = {};
  std::vector<RoundNotes> rounds = {};
  double load_before = 0;
  double load_after = 0;
};

struct Outcome {
  MachineFacts machine;
  std::string command;
  int rounds = 0;
  int warm_up = 0;
  std::uint64_t seed = 0;  // of the bootstrap
  std::vector<Cell> cells = {};
};

}  // namespace hvd::bench
