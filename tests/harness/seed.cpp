#include "tests/harness/seed.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <optional>
#include <random>
#include <string>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

// A wrong value must not pass for a default: a proof would silently become a short run.
std::uint64_t whole_number(const char* name, const std::string& value) {
  std::size_t used = 0;
  std::uint64_t number = 0;
  try {
    number = std::stoull(value, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used != value.size()) {
    std::cerr << name << "='" << value << "': expected a whole number\n";
    std::exit(2);
  }
  return number;
}

void run_with_seeds(int rounds, const std::function<void(std::uint64_t)>& body) {
  const auto named = environment("HVD_TEST_SEED");
  if (named && !environment("HVD_TEST_ROUNDS")) rounds = 1;
  std::random_device entropy;
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t seed = named
                                   ? whole_number("HVD_TEST_SEED", *named) + static_cast<std::uint64_t>(round)
                                   : (std::uint64_t{entropy()} << 32 | entropy());
    const testing::ScopedTrace trace(__FILE__, __LINE__, text("repeat with HVD_TEST_SEED=", seed));
    body(seed);
    if (testing::Test::HasFailure()) {
      std::cerr << "[  SEED    ] HVD_TEST_SEED=" << seed << " (round " << round + 1 << " of " << rounds
                << ")\n";
      return;
    }
  }
}

}  // namespace

int test_rounds(int fast, int full) {
  const auto rounds = environment("HVD_TEST_ROUNDS");
  if (!rounds) return fast;
  if (*rounds == "full") return full;
  return static_cast<int>(whole_number("HVD_TEST_ROUNDS", *rounds));
}

void for_each_seed(int fast, int full, const std::function<void(std::uint64_t)>& body) {
  run_with_seeds(test_rounds(fast, full), body);
}

void with_a_seed(const std::function<void(std::uint64_t)>& body) { run_with_seeds(1, body); }

}  // namespace hvd
