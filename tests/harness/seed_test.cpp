#include "tests/harness/seed.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <set>
#include <string>

#include "tests/harness/huge.h"

namespace hvd {
namespace {

// Sets an environment variable, or removes it, for as long as it lives.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    set(value);
  }
  ~ScopedVariable() { set(old_ ? old_->c_str() : nullptr); }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  void set(const char* value) {
    if (value == nullptr) {
      ::unsetenv(name_);
    } else {
      ::setenv(name_, value, 1);
    }
  }
  const char* name_;
  std::optional<std::string> old_;
};

std::multiset<std::uint64_t> seeds_used(int fast, int full) {
  std::multiset<std::uint64_t> seeds;
  for_each_seed(fast, full, [&](std::uint64_t seed) { seeds.insert(seed); });
  return seeds;
}

TEST(Seed, RoundsFollowTheEnvironment) {
  const ScopedVariable no_seed("HVD_TEST_SEED", nullptr);
  {
    const ScopedVariable rounds("HVD_TEST_ROUNDS", nullptr);
    EXPECT_EQ(seeds_used(5, 70).size(), 5u);
  }
  {
    const ScopedVariable rounds("HVD_TEST_ROUNDS", "full");
    EXPECT_EQ(seeds_used(5, 70).size(), 70u);
  }
  {
    const ScopedVariable rounds("HVD_TEST_ROUNDS", "12");
    EXPECT_EQ(seeds_used(5, 70).size(), 12u);
  }
}

TEST(Seed, ABodyWithRoundsOfItsOwnHasOneSeed) {
  const ScopedVariable no_seed("HVD_TEST_SEED", nullptr);
  const ScopedVariable rounds("HVD_TEST_ROUNDS", "12");
  int calls = 0;
  with_a_seed([&](std::uint64_t) { ++calls; });
  EXPECT_EQ(calls, 1);
  EXPECT_NONFATAL_FAILURE(
      {
        const ScopedVariable seed("HVD_TEST_SEED", "4711");
        with_a_seed([](std::uint64_t) { ADD_FAILURE() << "on purpose"; });
      },
      "HVD_TEST_SEED=4711");
}

TEST(Seed, SeedsAreNewEachTime) {
  const ScopedVariable no_seed("HVD_TEST_SEED", nullptr);
  auto seeds = seeds_used(50, 50);
  seeds.merge(seeds_used(50, 50));
  EXPECT_EQ(std::set<std::uint64_t>(seeds.begin(), seeds.end()).size(), seeds.size());
}

TEST(Seed, ANamedSeedIsTheOnlyOneOrTheFirst) {
  const ScopedVariable seed("HVD_TEST_SEED", "18446744073709551615");
  {
    const ScopedVariable rounds("HVD_TEST_ROUNDS", nullptr);
    EXPECT_EQ(seeds_used(5, 70), (std::multiset<std::uint64_t>{18446744073709551615u}));
  }
  const ScopedVariable rounds("HVD_TEST_ROUNDS", "3");
  EXPECT_EQ(seeds_used(5, 70), (std::multiset<std::uint64_t>{0, 1, 18446744073709551615u}));
}

TEST(Seed, AFailureNamesItsSeed) {
  const ScopedVariable rounds("HVD_TEST_ROUNDS", nullptr);
  EXPECT_NONFATAL_FAILURE(
      {
        const ScopedVariable seed("HVD_TEST_SEED", "4711");
        for_each_seed(1, 1, [](std::uint64_t) { ADD_FAILURE() << "on purpose"; });
      },
      "HVD_TEST_SEED=4711");
}

TEST(Huge, OnlyAFullRunHasRoomAndOnlyAsMuchAsThereIs) {
  {
    const ScopedVariable rounds("HVD_TEST_ROUNDS", nullptr);
    EXPECT_FALSE(has_room_for(1));
  }
  {
    const ScopedVariable rounds("HVD_TEST_ROUNDS", "1");
    EXPECT_FALSE(has_room_for(1));
  }
  const ScopedVariable rounds("HVD_TEST_ROUNDS", "full");
  EXPECT_TRUE(has_room_for(1));
  EXPECT_FALSE(has_room_for(std::size_t{1} << 60U));
}

}  // namespace
}  // namespace hvd
