// Ranks that meet again after a loss, over real sockets.
#include "tests/unit/rendezvous/rendezvous_world.h"

namespace hvd {
namespace {

using std::chrono::milliseconds;
using Ranks = std::vector<int>;

class RendezvousAfterALoss : public Rendezvous {
 protected:
  Result<Company> come_again(int rank, int size) {
    return come(rank, size, "again " + std::to_string(rank), soon(), "the key", true);
  }
  void expect_company(const Result<Company>& met, const Ranks& ranks) {
    ASSERT_TRUE(met.is_ok()) << met.status().message();
    EXPECT_EQ(met.value().ranks, ranks);
    ASSERT_EQ(met.value().payloads.size(), ranks.size());
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      EXPECT_TRUE(met.value().payloads[i] == bytes_of("again " + std::to_string(ranks[i])));
    }
  }
};

TEST_F(RendezvousAfterALoss, ThoseWhoAreLeftMeetAsSoonAsTheDeathIsKnown) {
  start(4, {.min_size = 2, .patience = std::chrono::minutes(10)});
  expect_meeting(4, "");
  run_ranks(4, [&](RankScope& scope) {
    if (scope.rank() == 1) return end_rank(1, false);
    expect_company(come_again(scope.rank(), 4), {0, 2, 3});
  });
  EXPECT_TRUE(ask([](auto& server) { return server.can_go_on(); }));
  EXPECT_TRUE(ask([](auto& server) { return server.given_up(); }).empty());
}

TEST_F(RendezvousAfterALoss, WhoStaysAwayIsGivenUp) {
  start(3, {.min_size = 2, .patience = milliseconds(200)});
  run_ranks(3, [&](RankScope& scope) {
    if (scope.rank() != 1) expect_company(come_again(scope.rank(), 3), {0, 2});
  });
  EXPECT_EQ(ask([](auto& server) { return server.given_up(); }), Ranks{1});
  const auto late = come_again(1, 3);
  EXPECT_EQ(late.status().code(), StatusCode::invalid_argument);
  EXPECT_NE(late.status().message().find("rank 1 was given up"), std::string::npos)
      << late.status().message();
}

TEST_F(RendezvousAfterALoss, TooFewAreToldWhy) {
  start(3, {.min_size = 3, .patience = std::chrono::minutes(10)});
  run_ranks(3, [&](RankScope& scope) {
    if (scope.rank() == 2) return end_rank(2, false);
    const auto met = come_again(scope.rank(), 3);
    EXPECT_FALSE(met.is_ok());
    EXPECT_NE(met.status().message().find("--min-np asks for 3"), std::string::npos)
        << met.status().message();
  });
}

TEST_F(RendezvousAfterALoss, AJobThatMayNotLoseRanksRefuses) {
  start(2);
  const auto met = come_again(0, 2);
  EXPECT_NE(met.status().message().find("hvdrun --min-np N"), std::string::npos) << met.status().message();
}

// Killed while it loads its libraries, say: nobody waits until the deadline.
TEST_F(RendezvousAfterALoss, ARankThatEndsBeforeItComesIsTold) {
  for (const bool well : {false, true}) {
    for (const bool is_early : {false, true}) {
      start(3);
      run_ranks(3, [&](RankScope& scope) {
        if (scope.rank() == 2) {
          if (!is_early) await_attendance({0, 1});
          return end_rank(2, well);
        }
        const auto met = come(scope.rank(), 3, "");
        EXPECT_EQ(met.status().code(), StatusCode::shut_down);
        EXPECT_NE(met.status().message().find("the process of rank 2 has "), std::string::npos)
            << met.status().message();
      });
      stop();
    }
  }
}

TEST_F(RendezvousAfterALoss, ARankThatEndsAfterTheMeetingIsToldToThoseWhoKeepTheLine) {
  start(3);
  run_ranks(3, [&](RankScope& scope) {
    auto met = come(scope.rank(), 3, "");
    ASSERT_TRUE(met.is_ok()) << met.status().message();
    LossLine line = std::move(met.value().line);
    if (scope.rank() == 2) end_rank(2, false);
    Status heard;
    while (heard.is_ok() && wait_for_events(line.fd(), POLLIN, soon()).value()) heard = line.check();
    EXPECT_EQ(heard.code(), StatusCode::aborted);
    EXPECT_NE(heard.message().find("the process of rank 2 has ended"), std::string::npos) << heard.message();
  });
}

TEST_F(RendezvousAfterALoss, ALineThatBreaksSaysNothing) {
  start(1);
  auto met = come(0, 1, "");
  ASSERT_TRUE(met.is_ok()) << met.status().message();
  LossLine line = std::move(met.value().line);
  stop();
  while (line.fd() >= 0) {
    ASSERT_TRUE(wait_for_events(line.fd(), POLLIN, soon()).value());
    EXPECT_TRUE(line.check().is_ok());
  }
  EXPECT_TRUE(LossLine().check().is_ok());
}

// One of those who are left dies in the meeting.
TEST_F(RendezvousAfterALoss, AnotherDeathMakesTheMeetingSmaller) {
  start(4, {.min_size = 1, .patience = std::chrono::minutes(10)});
  end_rank(3, false);
  {
    rendezvous_protocol::Hello hello;
    hello.rank = 2;
    hello.size = 4;
    hello.after_loss = true;
    SecureSocket dying = connect_secure();
    ASSERT_TRUE(dying.send_all(encode(hello), soon()).is_ok());
    ASSERT_TRUE(dying.send_all(rendezvous_protocol::encode_ask(), soon()).is_ok());
    ASSERT_EQ(read_message(dying).first, rendezvous_protocol::MessageType::progress);
  }
  run_ranks(2, [&](RankScope& scope) {
    if (scope.rank() == 0) end_rank(2, false);
    expect_company(come_again(scope.rank(), 4), {0, 1});
  });
}

}  // namespace
}  // namespace hvd
