// A training run that goes on after losses, as a process case, and its fresh repetition.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace hvd {

inline constexpr int kElasticRanks = 4;

// Files that the case "trains_on" leaves in its job's folder (ProcessResult::files).
//   met.N          by rank 0 of each set of ranks after a loss, N = its size: the state that it began with (torch archive)
//   final.N        by each rank that comes to the end, N = its number under hvdrun: its rank and size then, and all bits of its parameters
//   resumed.N      … CLOCK_MONOTONIC in ns when it had completed the first step after the last loss (no file if there was none)
//   lost_steps.N   … the most steps that it had completed and lost again
// It reaches the point "training" after its third step, "training again" after the first after a loss.
// Arguments: "fork" anywhere lets each rank have a child that sleeps for ever; "dies early" kills rank 1 before it has synchronised anything.

// The same clock in all processes of a host.
inline std::int64_t monotonic_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

// The bits of the parameters after a run of `ranks` ranks (one process each, no losses) from a state that "trains_on" left.
std::string final_bits_of_fresh_run(int ranks, const std::string& state);

}  // namespace hvd
