// All contenders: what they are called, and how their ranks are started.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "horovod_cpp/base/status.h"

namespace hvd::bench {

struct ContenderRow {
  const char* key;
  const char* what;
  // The folder below --peers that holds it, made by peers/install; nullptr: it comes with the build.
  const char* peer;
};
// In the order of their turns and of the table: the first that runs is what the others are compared with.
const std::vector<ContenderRow>& contender_table();
const ContenderRow* find_contender(const std::string& key);

// Where programs lie, and what of the machine matters.
struct Surroundings {
  std::string bin;      // folder of our programs
  std::string sources;  // of the repository
  std::string python;   // that has torch
  std::string peers;    // folder of installed peers; empty: none
  std::string scratch;  // folder for whatever contenders leave; empty when they begin
  int cores = 1;
};

struct StartPlan {
  // One command for all ranks, by the contender's own launcher; or the same for each rank, told by HVDBENCH_RANK.
  std::vector<std::string> command;
  bool has_launcher = true;
  int processes = 1;  // the size of the board
  std::vector<std::pair<std::string, std::string>> environment;
};
// Pure, but for looking whether programs exist. Errors: unavailable says what is missing, or why it could not be installed.
Result<StartPlan> start_plan(const ContenderRow& row, int ranks, const Surroundings& around);

}  // namespace hvd::bench
