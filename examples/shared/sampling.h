// Which samples a step looks at, and which of them are this rank's. Knows no tensors.
//
// All ranks draw the same numbers and each takes its own part, so the union over ranks is the same batch on
// any number of ranks. The numbers depend on the arguments only: nothing has to be kept in a checkpoint.
#pragma once

#include <cstdint>
#include <vector>

namespace examples {

// A random order of 0 … count−1: the same on every machine for the same numbers.
std::vector<std::int64_t> shuffled_indices(std::int64_t count, std::uint64_t seed, std::uint64_t epoch);

// `count` random numbers from 0 … limit−1, in which a number may come twice. limit > 0.
std::vector<std::int64_t> random_positions(std::int64_t count, std::int64_t limit, std::uint64_t seed,
                                           std::uint64_t step);

// Cuts [0, count) into `size` consecutive parts as equal as possible; part `rank`.
struct Range {
  std::int64_t begin;
  std::int64_t end;
};
Range part_of(std::int64_t count, int rank, int size);

}  // namespace examples
