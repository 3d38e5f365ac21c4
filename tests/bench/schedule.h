// What is measured how often, and which rounds do not count for much. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/bench/workload.h"

namespace hvd::bench {

// A contender's turn in a round: so many repetitions, whose median is the round's time. Short operations are repeated, so that a turn is not
// mostly waiting for the conductor; every repetition has memory rewritten, a barrier and a check of its own.
int repetitions_in_a_turn(const Workload& workload);

// Whether contenders must give the workload's pages back between their turns, because all of them together would fill the memory.
bool must_give_back(const Workload& workload, int ranks, std::size_t contenders,
                    std::uint64_t available_bytes);
// Whether it fits even then: one contender's buffers and staging, and those whose memory is registered.
bool fits(const Workload& workload, int ranks, std::uint64_t available_bytes);

// What happened on the machine during one round.
struct RoundNotes {
  double wall_seconds = 0;
  double foreign_seconds = 0;  // CPU time of processes that are no contender's
  double steal_seconds = 0;
};
// The rounds (0, 1, …) during which others had more than 5 % of the cores. The kernel counts in ticks of 10 ms: rounds are looked at together
// until they last 200 ms, and named together.
std::vector<int> disturbed_rounds(const std::vector<RoundNotes>& rounds, int cores);

}  // namespace hvd::bench
