// The conductor: starts contenders, has them take turns, and takes the times.
//
//   for each number of ranks: start all ─► for each workload: prepare all ─► rounds: A B C  A B C … ─► drop ─► … ─► finish all
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/contender_table.h"
#include "tests/bench/job.h"
#include "tests/bench/outcome.h"

namespace hvd::bench {

struct Plan {
  std::vector<std::string> contenders;  // keys
  std::vector<std::string> workloads;   // names
  std::vector<int> ranks;
  int rounds = 20;
  int warm_up = 3;
  std::chrono::seconds patience{60};  // for one turn, beside what its bytes take
};

class Conductor {
 public:
  // `say` gets a line of progress now and then.
  Conductor(Plan plan, Surroundings around, std::function<void(const std::string&)> say);

  // Fills `cells`. Errors: aborted if the user interrupted. A contender that fails is named in the cells, and is no error.
  Status run(std::vector<Cell>& cells);

 private:
  Status start_all(int ranks);
  Result<Cell> measure(const std::string& workload, int ranks);
  void prepare_all(Cell& cell);
  Status take_turns(Cell& cell);
  Status take_turn(Cell& cell, Job& job, int round);
  void look_at_idlers(Cell& cell);
  Status perform(Cell& cell, Job& job, const Command& command);
  void lose(Cell& cell, const std::string& key, const Status& why);
  double own_cpu_seconds() const;

  Plan plan_;
  Surroundings around_;
  std::function<void(const std::string&)> say_;
  std::vector<std::unique_ptr<Job>> jobs_;  // those that live
  std::vector<LeftOut> absent_;             // those that do not, at this number of ranks
};

}  // namespace hvd::bench
