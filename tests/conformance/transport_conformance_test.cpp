// The transport suite on every Transport that this library has, and what only its owner can check.
#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "tests/conformance/transport_suite.h"
#include "tests/conformance/transport_worlds.h"
#include "tests/harness/run_ranks.h"

namespace hvd {
namespace {

using Case = std::tuple<TransportWorld, int>;

std::string case_name(const ::testing::TestParamInfo<Case>& info) {
  return std::string(std::get<0>(info.param).name) + "_n" + std::to_string(std::get<1>(info.param));
}

class TransportConformance : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override { remake(); }
  int size() const { return std::get<1>(GetParam()); }
  void remake() {
    transports_ = std::get<0>(GetParam()).make(size());
    ASSERT_EQ(transports_.size(), static_cast<std::size_t>(size()));
  }
  // The ranks take their own out when they want to leave.
  Transports transports_;
};

TEST_P(TransportConformance, PassesTheSuite) {
  for (const TransportCheck& check : transport_checks()) {
    if (size() < check.least_size) continue;
    SCOPED_TRACE(check.name);
    run_ranks(size(), [&](RankScope& scope) {
      Transport& transport = *transports_[static_cast<std::size_t>(scope.rank())];
      scope.guard(transport);
      ASSERT_EQ(transport.rank(), scope.rank());
      ASSERT_EQ(transport.size(), scope.size());
      check.body(transport);
    });
    ASSERT_FALSE(HasFailure()) << "in the check " << check.name;
    if (check.leaves_it_failed) remake();
    if (HasFatalFailure()) return;
  }
}

TEST_P(TransportConformance, ARankThatLeavesIsNamed) {
  if (size() < 2) GTEST_SKIP() << "needs two ranks";
  const int leaver = size() - 1;
  run_ranks(size(), [&](RankScope& scope) {
    auto& own = transports_[static_cast<std::size_t>(scope.rank())];
    std::vector<Bytes> all;
    ASSERT_TRUE(own->all_gather({}, all, Deadline::after(std::chrono::seconds(30))).is_ok());
    if (scope.rank() == leaver) {
      own.reset();
      return;
    }
    const Status status = scope.rank() % 2 == 0
                              ? own->wait(Deadline::after(std::chrono::seconds(30))).status()
                              : own->all_gather({}, all, Deadline::after(std::chrono::seconds(30)));
    if (scope.rank() % 2 == 0 && status.is_ok()) return;  // another rank began its all_gather first
    EXPECT_EQ(status.code(), StatusCode::aborted) << status.message();
    EXPECT_NE(status.message().find("rank " + std::to_string(leaver)), std::string::npos) << status.message();
  });
}

// What a rank sent before it left still arrives.
TEST_P(TransportConformance, AGoodbyeIsRead) {
  if (size() < 2) GTEST_SKIP() << "needs two ranks";
  run_ranks(size(), [&](RankScope& scope) {
    auto& own = transports_[static_cast<std::size_t>(scope.rank())];
    const Bytes mine(1000, static_cast<std::byte>(scope.rank() + 1));
    std::vector<Bytes> all;
    const Status status = own->all_gather(mine, all, Deadline::after(std::chrono::seconds(30)));
    ASSERT_TRUE(status.is_ok()) << status.message();
    own.reset();
    for (int sender = 0; sender < size(); ++sender) {
      EXPECT_TRUE(all[static_cast<std::size_t>(sender)] == Bytes(1000, static_cast<std::byte>(sender + 1)));
    }
  });
}

TEST_P(TransportConformance, DifferentLengthsAndOperationsAreFound) {
  if (size() < 2) GTEST_SKIP() << "needs two ranks";
  run_ranks(size(), [&](RankScope& scope) {
    Transport& own = *transports_[static_cast<std::size_t>(scope.rank())];
    if (scope.rank() > 1) return;
    const int peer = 1 - scope.rank();
    Bytes received(scope.rank() == 0 ? 100 : 101);
    const Status status =
        own.exchange(peer, Bytes(100), peer, received, Deadline::after(std::chrono::seconds(30)));
    EXPECT_EQ(status.is_ok(), scope.rank() == 0) << status.message();
    if (scope.rank() == 1) {
      EXPECT_EQ(status.code(), StatusCode::internal);
    }
  });
  remake();
  if (HasFatalFailure()) return;
  run_ranks(size(), [&](RankScope& scope) {
    Transport& own = *transports_[static_cast<std::size_t>(scope.rank())];
    if (scope.rank() > 1) return;
    std::vector<Bytes> all;
    Bytes received(5);
    const Deadline deadline = Deadline::after(std::chrono::seconds(30));
    const Status status = scope.rank() == 0 ? own.all_gather(Bytes(5), all, deadline)
                                            : own.exchange(0, Bytes(5), 0, received, deadline);
    EXPECT_EQ(status.code(), StatusCode::internal) << status.message();
    EXPECT_NE(status.message().find("different operations"), std::string::npos) << status.message();
  });
}

INSTANTIATE_TEST_SUITE_P(Worlds, TransportConformance,
                         ::testing::Combine(::testing::ValuesIn(transport_worlds().begin(),
                                                                transport_worlds().end()),
                                            ::testing::Values(1, 2, 3, 4, 7, 8)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(SecuredWorlds, TransportConformance,
                         ::testing::Combine(::testing::ValuesIn(secured_transport_worlds().begin(),
                                                                secured_transport_worlds().end()),
                                            ::testing::Values(2, 3, 8)),
                         case_name);

}  // namespace
}  // namespace hvd
