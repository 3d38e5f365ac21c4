// The memory exchange suite on every MemoryExchange that this library has, and what only its owner can check.
#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "tests/conformance/memory_exchange_suite.h"
#include "tests/conformance/transport_worlds.h"
#include "tests/harness/run_ranks.h"

namespace hvd {
namespace {

using Case = std::tuple<MemoryWorld, int>;

class MemoryExchangeConformance : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override { remake(); }
  int size() const { return std::get<1>(GetParam()); }
  void remake() {
    exchanges_ = std::get<0>(GetParam()).make(size());
    ASSERT_EQ(exchanges_.size(), static_cast<std::size_t>(size()));
  }
  MemoryExchanges exchanges_;
};

TEST_P(MemoryExchangeConformance, PassesTheSuite) {
  for (const MemoryExchangeCheck& check : memory_exchange_checks()) {
    if (size() < check.least_size) continue;
    SCOPED_TRACE(check.name);
    run_ranks(size(),
              [&](RankScope& scope) { check.body(*exchanges_[static_cast<std::size_t>(scope.rank())]); });
    ASSERT_FALSE(HasFailure()) << "in the check " << check.name;
    if (check.leaves_it_failed) remake();
    if (HasFatalFailure()) return;
  }
}

TEST_P(MemoryExchangeConformance, MemoryOutlivesTheExchange) {
  std::vector<MappedMemory> kept;
  run_ranks(size(), [&](RankScope& scope) {
    auto mapped = exchanges_[static_cast<std::size_t>(scope.rank())]->allocate(
        8192, Deadline::after(std::chrono::seconds(30)));
    ASSERT_TRUE(mapped.is_ok()) << mapped.status().message();
    mapped.value()[static_cast<std::size_t>(scope.rank())].data[0] = static_cast<std::byte>(scope.rank() + 1);
    if (scope.rank() == 0) kept = mapped.value();
  });
  exchanges_.clear();
  ASSERT_EQ(kept.size(), static_cast<std::size_t>(size()));
  for (int rank = 0; rank < size(); ++rank) {
    EXPECT_EQ(kept[static_cast<std::size_t>(rank)].data[0], static_cast<std::byte>(rank + 1));
  }
}

TEST_P(MemoryExchangeConformance, ARankThatLeftIsTold) {
  if (size() < 2) GTEST_SKIP() << "needs two ranks";
  exchanges_.back().reset();
  run_ranks(size(), [&](RankScope& scope) {
    if (scope.rank() == size() - 1) return;
    const auto mapped = exchanges_[static_cast<std::size_t>(scope.rank())]->allocate(
        1, Deadline::after(std::chrono::seconds(30)));
    ASSERT_FALSE(mapped.is_ok());
    EXPECT_EQ(mapped.status().code(), StatusCode::aborted) << mapped.status().message();
  });
}

INSTANTIATE_TEST_SUITE_P(Worlds, MemoryExchangeConformance,
                         ::testing::Combine(::testing::ValuesIn(memory_worlds().begin(),
                                                                memory_worlds().end()),
                                            ::testing::Values(1, 2, 3, 4, 7, 8)),
                         [](const ::testing::TestParamInfo<Case>& info) {
                           return std::string(std::get<0>(info.param).name) + "_n" +
                                  std::to_string(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace hvd
