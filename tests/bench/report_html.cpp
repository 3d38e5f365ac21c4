#include <algorithm>
#include <map>
#include <sstream>

#include "horovod_cpp/base/text.h"
#include "tests/bench/plot.h"
#include "tests/bench/report.h"

namespace hvd::bench {
namespace {

constexpr const char* kStyle = R"(
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 68rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; border-top: 1px solid #ddd; padding-top: 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0 }
th, td { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #eee } th:first-child, td:first-child { text-align: left }
svg { width: 100%; height: auto; max-width: 60rem } svg text { font: 12px system-ui, sans-serif; fill: #333 }
.small { color: #666; font-size: .85rem } .disturbed { color: #a33 }
)";

std::string number(double value) {
  std::ostringstream out;
  out.precision(value >= 1000 ? 5 : 3);
  out << value;
  return out.str();
}

// Ranks → the cells of the sweep, if there are several sizes.
std::map<int, std::vector<const Cell*>> sweeps_of(const Outcome& outcome) {
  std::map<int, std::vector<const Cell*>> sweeps;
  for (const Cell& cell : outcome.cells) {
    if (cell.workload.starts_with("single:") && !cell.rows.empty()) sweeps[cell.ranks].push_back(&cell);
  }
  std::erase_if(sweeps, [](const auto& sweep) { return sweep.second.size() < 2; });
  return sweeps;
}

// One color for a contender in all plots.
std::map<std::string, int> colors_of(const Outcome& outcome) {
  std::map<std::string, int> colors;
  for (const Cell& cell : outcome.cells) {
    for (const Row& row : cell.rows) colors.emplace(row.key, static_cast<int>(colors.size()));
  }
  return colors;
}

void write_sweeps(std::ostringstream& out, const Outcome& outcome, const std::map<std::string, int>& colors) {
  for (const auto& [ranks, cells] : sweeps_of(outcome)) {
    std::vector<Line> lines;
    for (const Cell* const cell : cells) {
      for (const Row& row : cell->rows) {
        auto line =
            std::find_if(lines.begin(), lines.end(), [&](const Line& l) { return l.name == row.key; });
        if (line == lines.end()) line = lines.insert(lines.end(), {row.key, colors.at(row.key), {}});
        line->points.push_back({static_cast<double>(cell->bytes), median(row.seconds) * 1e3});
      }
    }
    out << "<h2>One tensor of every size, " << ranks << " ranks: median milliseconds</h2>\n"
        << plot_of_lines(lines, "bytes", "ms") << '\n';
  }
}

void write_rows(std::ostringstream& out, const Cell& cell, const Outcome& outcome) {
  out << "<table><tr><th></th><th>median ms</th><th>10 %</th><th>90 %</th><th>ratio to "
      << escaped(cell.rows.front().key) << "</th><th>95 %</th></tr>\n";
  for (const Row& row : cell.rows) {
    const Interval ratio = ratio_to_first(cell, row, outcome.seed);
    out << "<tr><td><b>" << escaped(row.key) << "</b> " << escaped(row.title) << "</td>";
    for (const double fraction : {0.5, 0.1, 0.9})
      out << "<td>" << number(quantile(row.seconds, fraction) * 1e3) << "</td>";
    out << "<td>" << number(ratio.middle) << "</td><td>" << number(ratio.low) << " – " << number(ratio.high)
        << "</td></tr>\n";
  }
  out << "</table>\n";
}

void write_cell(std::ostringstream& out, const Cell& cell, const Outcome& outcome,
                const std::map<std::string, int>& colors) {
  out << "<h2>" << escaped(title_of(cell)) << "</h2>\n";
  if (!cell.rows.empty()) {
    std::vector<Bar> bars;
    for (const Row& row : cell.rows) {
      bars.push_back({row.key, colors.at(row.key), median(row.seconds) * 1e3,
                      quantile(row.seconds, 0.1) * 1e3, quantile(row.seconds, 0.9) * 1e3});
    }
    out << plot_of_bars(bars, "ms") << '\n';
    write_rows(out, cell, outcome);
  }
  for (const auto& [reason, keys] : by_reason(cell.left_out))
    out << "<div class=small>without " << escaped(keys) << ": " << escaped(reason) << "</div>\n";
  const bool is_disturbed = !disturbed_rounds(cell.rounds, outcome.machine.cores).empty();
  out << "<div class='small" << (is_disturbed ? " disturbed" : "") << "'>"
      << escaped(disturbance_in_words(cell, outcome.machine.cores)) << "</div>\n";
}

}  // namespace

std::string as_html(const Outcome& outcome) {
  const auto colors = colors_of(outcome);
  std::ostringstream out;
  out << "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport "
         "content='width=device-width'>"
      << "<title>horovod_cpp: benchmark</title>\n<style>" << kStyle
      << "</style>\n<h1>horovod_cpp: benchmark</h1>\n<p>" << escaped(outcome.machine.date) << ", "
      << escaped(machine_in_words(outcome.machine)) << "<br><code>" << escaped(outcome.command)
      << "</code></p>\n"
      << "<p>Contenders took turns, " << outcome.rounds << " rounds after " << outcome.warm_up
      << " to warm up. A time is the last finish minus the last start over the ranks; memory was rewritten "
         "before each "
         "repetition, every result verified. Whiskers: 10th to 90th percentile.</p>\n";
  write_sweeps(out, outcome, colors);
  for (const Cell& cell : outcome.cells) write_cell(out, cell, outcome, colors);
  out << "</html>\n";
  return out.str();
}

}  // namespace hvd::bench
