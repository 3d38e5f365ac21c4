#include "examples/shared/sampling.h"

#include <numeric>
#include <random>
#include <utility>

namespace examples {
namespace {

// Not the distributions of <random> and not std::shuffle: standard libraries differ in what they draw.
std::mt19937_64 random_numbers(std::uint64_t seed, std::uint64_t round) {
  std::seed_seq words{seed >> 32U, seed & 0xffffffffU, round};
  return std::mt19937_64(words);
}

}  // namespace

std::vector<std::int64_t> shuffled_indices(std::int64_t count, std::uint64_t seed, std::uint64_t epoch) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  auto random = random_numbers(seed, epoch);
  for (std::size_t left = order.size(); left > 1; --left) std::swap(order[left - 1], order[random() % left]);
  return order;
}

std::vector<std::int64_t> random_positions(std::int64_t count, std::int64_t limit, std::uint64_t seed,
                                           std::uint64_t step) {
  std::vector<std::int64_t> positions(static_cast<std::size_t>(count));
  auto random = random_numbers(seed, step);
  for (auto& position : positions)
    position = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(limit));
  return positions;
}

Range part_of(std::int64_t count, int rank, int size) {
  return {count * rank / size, count * (rank + 1) / size};
}

}  // namespace examples
