// The outcome of a benchmark, for people and for programs.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/bench/outcome.h"
#include "tests/bench/statistics.h"

namespace hvd::bench {

std::string as_table(const Outcome& outcome);
std::string as_json(const Outcome& outcome);
// One page that needs nothing else, with plots.
std::string as_html(const Outcome& outcome);

// ---- pieces of both, and of the page
// The row's times against those of the first row of its cell.
Interval ratio_to_first(const Cell& cell, const Row& row, std::uint64_t seed);
// Reason → the keys that it holds for, in their order.
std::vector<std::pair<std::string, std::string>> by_reason(const std::vector<LeftOut>& left_out);
// "1 KiB", "102 MB": whole binary units where they are whole.
std::string bytes_in_words(std::size_t bytes);
// "resnet50, 161 tensors, 102 MB, 2 ranks".
std::string title_of(const Cell& cell);
// "rounds 3, 4 of 20 disturbed; steal 0.0 s, others' CPU 1.2 s in 3.4 s, load 1.0 to 2.1".
std::string disturbance_in_words(const Cell& cell, int cores);
// "2 cores of …, 23.4 GiB, kernel …".
std::string machine_in_words(const MachineFacts& machine);

}  // namespace hvd::bench
