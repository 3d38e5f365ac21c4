// Where random tests get their seeds and their number of rounds from.
//
//   TEST(Negotiator, AgreesInAnyOrder) {
//     for_each_seed(5, 10'000, [](std::uint64_t seed) {
//       std::mt19937_64 random(seed);
//       ...
//     });
//   }
//
// HVD_TEST_SEED=N       that one seed, to repeat a failure; with HVD_TEST_ROUNDS, that one and those that follow it.
//                       Otherwise seeds are new in each run, and printed with a failure.
// HVD_TEST_ROUNDS=full  the second count (./dev prove); =N that many; not set: the first count (./dev test).
#pragma once

#include <cstdint>
#include <functional>

namespace hvd {

// `fast` or `full`, or the number the environment names.
int test_rounds(int fast, int full);

// Runs `body` with test_rounds(fast, full) different seeds; every failure inside (of this thread or of
// run_ranks) names its seed. Ends after the first seed with a failure.
void for_each_seed(int fast, int full, const std::function<void(std::uint64_t seed)>& body);

// The same with one seed, whatever HVD_TEST_ROUNDS says, for a body that makes rounds of its own.
void with_a_seed(const std::function<void(std::uint64_t seed)>& body);

}  // namespace hvd
