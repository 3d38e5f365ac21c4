#include "tests/bench/report.h"

#include <algorithm>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/bench/statistics.h"

namespace hvd::bench {

std::string as_table(const Outcome& outcome) {
  std::size_t width = 10;
  for (const Measured& row : outcome.rows) width = std::max(width, row.contender.size());
  const auto name_column = static_cast<int>(width + 2);

  std::ostringstream out;
  out << std::fixed << outcome.workload.name << ": " << outcome.workload.tensors.size() << " tensors, "
      << std::setprecision(1) << static_cast<double>(outcome.workload.element_count()) * sizeof(float) / 1e6
      << " MB of float32, " << outcome.ranks << " ranks, " << outcome.rows.front().seconds.size()
      << " rounds, " << outcome.mpi << ", seed " << outcome.seed << "\n\n";
  out << std::left << std::setw(name_column) << "" << std::right << std::setw(11) << "median ms"
      << std::setw(11) << "10 % ms" << std::setw(11) << "90 % ms"
      << "   ratio to the first [95 %]\n";
  for (const Measured& row : outcome.rows) {
    const Interval ratio = paired_ratio(row.seconds, outcome.rows.front().seconds, outcome.seed);
    out << std::left << std::setw(name_column) << row.contender << std::right << std::setprecision(3)
        << std::setw(11) << median(row.seconds) * 1e3 << std::setw(11) << quantile(row.seconds, 0.1) * 1e3
        << std::setw(11) << quantile(row.seconds, 0.9) * 1e3 << "   " << ratio.middle << " [" << ratio.low
        << ", " << ratio.high << "]\n";
  }
  return out.str();
}

std::string as_json(const Outcome& outcome) {
  nlohmann::json rows = nlohmann::json::array();
  for (const Measured& row : outcome.rows) {
    const Interval ratio = paired_ratio(row.seconds, outcome.rows.front().seconds, outcome.seed);
    rows.push_back(
        {{"contender", row.contender},
         {"seconds", row.seconds},
         {"median_seconds", median(row.seconds)},
         {"p10_seconds", quantile(row.seconds, 0.1)},
         {"p90_seconds", quantile(row.seconds, 0.9)},
         {"ratio_to_first", {{"median", ratio.middle}, {"low95", ratio.low}, {"high95", ratio.high}}}});
  }
  const nlohmann::json whole = {{"workload", outcome.workload.name},
                                {"tensors", outcome.workload.tensors.size()},
                                {"bytes", outcome.workload.element_count() * sizeof(float)},
                                {"ranks", outcome.ranks},
                                {"mpi", outcome.mpi},
                                {"seed", outcome.seed},
                                {"rows", rows}};
  return whole.dump(2) + "\n";
}

}  // namespace hvd::bench
