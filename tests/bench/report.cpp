#include "tests/bench/report.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "horovod_cpp/base/text.h"

namespace hvd::bench {
namespace {

std::string with_digits(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

// Three digits that count, in the unit that suits the cell.
struct Unit {
  const char* name;
  double per_second;
};

Unit unit_of(const Cell& cell) {
  double shortest = 1;
  for (const Row& row : cell.rows) shortest = std::min(shortest, median(row.seconds));
  return shortest < 1e-3 ? Unit{"µs", 1e6} : Unit{"ms", 1e3};
}

std::string padded(const std::string& words, std::size_t width, bool to_the_left) {
  // Letters beyond ASCII take several bytes and one column.
  const auto columns = static_cast<std::size_t>(std::count_if(words.begin(), words.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U;
  }));
  const std::string blanks(width > columns ? width - columns : 0, ' ');
  return to_the_left ? words + blanks : blanks + words;
}

void write_cell(std::ostringstream& out, const Cell& cell, const Outcome& outcome) {
  out << '\n' << title_of(cell) << ", " << outcome.rounds << " rounds";
  if (cell.repetitions > 1) out << " of " << cell.repetitions << " repetitions";
  out << '\n';
  if (!cell.rows.empty()) {
    std::size_t width = 0;
    for (const Row& row : cell.rows) width = std::max(width, row.key.size() + row.title.size() + 2);
    const Unit unit = unit_of(cell);
    out << padded("", width + 2, true);
    for (const char* const column : {"median ", "10 % ", "90 % "})
      out << padded(text(column, unit.name), 12, false);
    out << "   ratio to " << cell.rows.front().key << " [95 %]\n";
    for (const Row& row : cell.rows) {
      const Interval ratio = ratio_to_first(cell, row, outcome.seed);
      out << padded(text(row.key, ": ", row.title), width + 2, true);
      for (const double fraction : {0.5, 0.1, 0.9})
        out << padded(with_digits(quantile(row.seconds, fraction) * unit.per_second, 2), 12, false);
      out << "   " << with_digits(ratio.middle, 3) << " [" << with_digits(ratio.low, 3) << ", "
          << with_digits(ratio.high, 3) << "]\n";
    }
  }
  for (const Row& row : cell.rows) {
    if (row.was_paused)
      out << "  " << row.key << " used " << with_digits(100 * row.idle_cores, 0)
          << " % of a core between its turns, and was stopped there\n";
  }
  for (const auto& [reason, keys] : by_reason(cell.left_out))
    out << "  without " << keys << ": " << reason << '\n';
  out << "  " << disturbance_in_words(cell, outcome.machine.cores) << '\n';
}

}  // namespace

std::vector<std::pair<std::string, std::string>> by_reason(const std::vector<LeftOut>& left_out) {
  std::vector<std::pair<std::string, std::string>> groups;
  for (const LeftOut& absent : left_out) {
    const auto group =
        std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.first == absent.reason; });
    if (group == groups.end()) {
      groups.emplace_back(absent.reason, absent.key);
    } else {
      group->second += ", " + absent.key;
    }
  }
  return groups;
}

Interval ratio_to_first(const Cell& cell, const Row& row, std::uint64_t seed) {
  return paired_ratio(row.seconds, cell.rows.front().seconds, seed);
}

std::string bytes_in_words(std::size_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB"};
  std::size_t unit = 0;
  std::size_t whole = bytes;
  while (unit + 1 < std::size(kUnits) && whole % 1024 == 0 && whole > 0) {
    whole /= 1024;
    ++unit;
  }
  if (whole < 10'000) return text(whole, ' ', kUnits[unit]);
  return text(with_digits(static_cast<double>(bytes) / 1e6, 1), " MB");
}

std::string title_of(const Cell& cell) {
  std::string what = cell.workload.starts_with("single:") ? "one tensor" : cell.workload;
  if (!cell.batch.empty()) what += text(", a training step, ", cell.batch);
  if (cell.tensors > 1) what += text(", ", cell.tensors, cell.batch.empty() ? " tensors" : " parameters");
  return text(what, ", ", bytes_in_words(cell.bytes), " of float32, ", cell.ranks, " ranks");
}

std::string disturbance_in_words(const Cell& cell, int cores) {
  RoundNotes sum;
  for (const RoundNotes& round : cell.rounds) {
    sum.wall_seconds += round.wall_seconds;
    sum.foreign_seconds += round.foreign_seconds;
    sum.steal_seconds += round.steal_seconds;
  }
  const auto named = disturbed_rounds(cell.rounds, cores);
  std::string words = text(named.size(), " of ", cell.rounds.size(), " rounds disturbed");
  if (!named.empty() && named.size() < cell.rounds.size()) {
    for (std::size_t i = 0; i < named.size(); ++i) words += text(i == 0 ? " (" : ", ", named[i]);
    words += ")";
  }
  return text(words, ": others' CPU ", with_digits(sum.foreign_seconds, 2), " s and steal ",
              with_digits(sum.steal_seconds, 2), " s in ", with_digits(sum.wall_seconds, 2), " s of ", cores,
              " cores; load ", cell.load_before, " to ", cell.load_after);
}

std::string machine_in_words(const MachineFacts& machine) {
  return text(machine.cores, " cores of ", machine.cpu, ", last-level cache ", machine.last_level_cache, ", ",
              with_digits(static_cast<double>(machine.memory_bytes) / (1U << 30U), 1), " GiB, kernel ",
              machine.kernel, ", ", machine.system, ", ", machine.compiler);
}

std::string as_table(const Outcome& outcome) {
  std::ostringstream out;
  out << outcome.machine.date << ", " << machine_in_words(outcome.machine) << '\n'
      << outcome.command << " (bootstrap seed " << outcome.seed << ")\n";
  for (const Cell& cell : outcome.cells) write_cell(out, cell, outcome);
  return out.str();
}

}  // namespace hvd::bench
