#include <nlohmann/json.hpp>

#include "tests/bench/report.h"

namespace hvd::bench {
namespace {

using Json = nlohmann::json;

Json of_row(const Cell& cell, const Row& row, std::uint64_t seed) {
  const Interval ratio = ratio_to_first(cell, row, seed);
  return {{"contender", row.key},
          {"title", row.title},
          {"seconds", row.seconds},
          {"median_seconds", median(row.seconds)},
          {"p10_seconds", quantile(row.seconds, 0.1)},
          {"p90_seconds", quantile(row.seconds, 0.9)},
          {"ratio_to_first", {{"median", ratio.middle}, {"low95", ratio.low}, {"high95", ratio.high}}},
          {"idle_cores", row.idle_cores},
          {"was_paused", row.was_paused}};
}

Json of_cell(const Cell& cell, const Outcome& outcome) {
  Json rows = Json::array();
  for (const Row& row : cell.rows) rows.push_back(of_row(cell, row, outcome.seed));
  Json left_out = Json::array();
  for (const LeftOut& absent : cell.left_out)
    left_out.push_back({{"contender", absent.key}, {"reason", absent.reason}});
  Json rounds = Json::array();
  for (const RoundNotes& round : cell.rounds)
    rounds.push_back({{"wall_seconds", round.wall_seconds},
                      {"foreign_cpu_seconds", round.foreign_seconds},
                      {"steal_seconds", round.steal_seconds}});
  return {{"workload", cell.workload},
          {"batch", cell.batch},
          {"tensors", cell.tensors},
          {"bytes", cell.bytes},
          {"ranks", cell.ranks},
          {"repetitions_in_a_turn", cell.repetitions},
          {"gave_memory_back_between_turns", cell.gave_back},
          {"rows", rows},
          {"left_out", left_out},
          {"rounds", rounds},
          {"disturbed_rounds", disturbed_rounds(cell.rounds, outcome.machine.cores)},
          {"load_before", cell.load_before},
          {"load_after", cell.load_after}};
}

}  // namespace

std::string as_json(const Outcome& outcome) {
  Json cells = Json::array();
  for (const Cell& cell : outcome.cells) cells.push_back(of_cell(cell, outcome));
  const MachineFacts& machine = outcome.machine;
  const Json whole = {{"date", machine.date},
                      {"command", outcome.command},
                      {"machine",
                       {{"cpu", machine.cpu},
                        {"cores", machine.cores},
                        {"last_level_cache", machine.last_level_cache},
                        {"memory_bytes", machine.memory_bytes},
                        {"kernel", machine.kernel},
                        {"system", machine.system},
                        {"compiler", machine.compiler}}},
                      {"rounds", outcome.rounds},
                      {"warm_up_rounds", outcome.warm_up},
                      {"seed", outcome.seed},
                      {"cells", cells}};
  // A contender's words may hold anything.
  return whole.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace hvd::bench
