// Options that every training example has.
#pragma once

#include <c10/core/ScalarType.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

namespace examples {

struct RunOptions {
  std::uint64_t seed = 1;
  std::string precision = "float32";
  std::string checkpoint;  // empty: none
  bool resume = false;
  std::string loss_log;  // empty: none
  bool parameters_digest = false;

  c10::ScalarType dtype() const { return precision == "float64" ? c10::kDouble : c10::kFloat; }
};

// `when` is when rank 0 saves: "after each epoch".
void add_run_options(CLI::App& app, RunOptions& options, const std::string& when);

// Ranks share the cores of their host: each gets its part of them, unless OMP_NUM_THREADS says otherwise.
void share_cores();

}  // namespace examples
