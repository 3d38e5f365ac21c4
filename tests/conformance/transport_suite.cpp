#include "tests/conformance/transport_suite.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <chrono>
#include <random>
#include <string>
#include <thread>

namespace hvd {
namespace {

using std::chrono::milliseconds;

// Against hanging only: nothing here takes long.
Deadline soon() { return Deadline::after(std::chrono::seconds(30)); }

// Bytes that differ by sender, message and position.
Bytes pattern(int sender, std::size_t message, std::size_t length) {
  std::minstd_rand random(static_cast<unsigned>(sender) * 1009U + static_cast<unsigned>(message) * 31U + 1U);
  Bytes bytes(length);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() >> 8);
  return bytes;
}

const std::array<std::size_t, 7> kLengths = {0, 1, 7, 4096, 65536 + 13, 1 << 20, 3};

void exchange_around_a_ring(Transport& transport) {
  const int rank = transport.rank();
  const int size = transport.size();
  const int next = (rank + 1) % size;
  const int previous = (rank + size - 1) % size;
  for (std::size_t i = 0; i < kLengths.size(); ++i) {
    Bytes received(kLengths[i]);
    const Status status = transport.exchange(next, pattern(rank, i, kLengths[i]), previous, received, soon());
    ASSERT_TRUE(status.is_ok()) << status.message();
    ASSERT_TRUE(received == pattern(previous, i, kLengths[i]))
        << kLengths[i] << " bytes from rank " << previous;
  }
}

void exchange_between_all_pairs(Transport& transport) {
  const int rank = transport.rank();
  const int size = transport.size();
  for (int step = 1; step < size; ++step) {
    const int to = (rank + step) % size;
    const int from = (rank + size - step) % size;
    // Each sender chooses its own length.
    const auto length = [](int sender) { return 1000 + static_cast<std::size_t>(sender) * 12345; };
    Bytes received(length(from));
    const Status status = transport.exchange(to, pattern(rank, 5, length(rank)), from, received, soon());
    ASSERT_TRUE(status.is_ok()) << status.message();
    ASSERT_TRUE(received == pattern(from, 5, length(from))) << "from rank " << from;
  }
}

void exchange_in_one_direction(Transport& transport) {
  const int rank = transport.rank();
  constexpr std::size_t kLength = 300'001;
  if (rank == 0) {
    const Status status = transport.exchange(1, pattern(0, 1, kLength), 1, {}, soon());
    ASSERT_TRUE(status.is_ok()) << status.message();
  }
  if (rank == 1) {
    Bytes received(kLength);
    const Status status = transport.exchange(0, {}, 0, received, soon());
    ASSERT_TRUE(status.is_ok()) << status.message();
    ASSERT_TRUE(received == pattern(0, 1, kLength));
  }
}

void all_gather_of_different_lengths(Transport& transport) {
  const int rank = transport.rank();
  const std::array<std::size_t, 4> bases = {0, 1, 7919, 200'000};
  for (std::size_t i = 0; i < bases.size(); ++i) {
    // Rank 0 sometimes contributes nothing.
    const auto length = [&](int sender) {
      return bases[i] * static_cast<std::size_t>(sender + (i % 2 == 0 ? 0 : 1));
    };
    std::vector<Bytes> all = {Bytes(3)};
    const Status status = transport.all_gather(pattern(rank, i, length(rank)), all, soon());
    ASSERT_TRUE(status.is_ok()) << status.message();
    ASSERT_EQ(all.size(), static_cast<std::size_t>(transport.size()));
    for (int sender = 0; sender < transport.size(); ++sender) {
      ASSERT_TRUE(all[static_cast<std::size_t>(sender)] == pattern(sender, i, length(sender)))
          << "from rank " << sender;
    }
  }
}

void messages_keep_their_order(Transport& transport) {
  const int rank = transport.rank();
  const int size = transport.size();
  for (std::size_t i = 0; i < 100; ++i) {
    const std::size_t length = 1 + (i * 37) % 300;
    if (i % 3 == 0) {
      std::vector<Bytes> all;
      const Status status = transport.all_gather(pattern(rank, i, length), all, soon());
      ASSERT_TRUE(status.is_ok()) << status.message();
      for (int sender = 0; sender < size; ++sender) {
        ASSERT_TRUE(all[static_cast<std::size_t>(sender)] == pattern(sender, i, length)) << "message " << i;
      }
    } else if (size > 1) {
      const int from = (rank + size - 1) % size;
      Bytes received(length);
      const Status status =
          transport.exchange((rank + 1) % size, pattern(rank, i, length), from, received, soon());
      ASSERT_TRUE(status.is_ok()) << status.message();
      ASSERT_TRUE(received == pattern(from, i, length)) << "message " << i;
    }
  }
}

void a_bad_peer_is_the_callers_bug(Transport& transport) {
  Bytes one(1);
  for (const int peer : {-1, transport.rank(), transport.size()}) {
    EXPECT_EQ(transport.exchange(peer, one, 0, {}, soon()).code(), StatusCode::invalid_argument) << peer;
    EXPECT_EQ(transport.exchange(0, {}, peer, one, soon()).code(), StatusCode::invalid_argument) << peer;
  }
  // Nothing was sent and nothing is broken.
  all_gather_of_different_lengths(transport);
}

void wait_wakes_when_a_peer_begins(Transport& transport) {
  for (int round = 0; round < 5; ++round) {
    if (transport.rank() == round % transport.size()) {
      std::this_thread::sleep_for(milliseconds(20));
    } else {
      const auto woken = transport.wait(soon());
      ASSERT_TRUE(woken.is_ok()) << woken.status().message();
      ASSERT_TRUE(woken.value());
    }
    std::vector<Bytes> all;
    const Status status = transport.all_gather(pattern(transport.rank(), 0, 10), all, soon());
    ASSERT_TRUE(status.is_ok()) << status.message();
  }
}

// Whether this rank joins all others in an all_gather.
void meet(Transport& transport) {
  std::vector<Bytes> all;
  const Status status = transport.all_gather({}, all, soon());
  ASSERT_TRUE(status.is_ok()) << status.message();
}

void wait_wakes_on_notify(Transport& transport) {
  std::thread notifier([&] {
    std::this_thread::sleep_for(milliseconds(30));
    transport.notify();
  });
  const auto woken = transport.wait(soon());
  notifier.join();
  ASSERT_TRUE(woken.is_ok()) << woken.status().message();
  // A peer that was faster may have begun to meet.
  if (woken.value()) {
    EXPECT_GT(transport.size(), 1);
  }
  meet(transport);
  // A notify that was not used up because a peer came first.
  const auto rest = transport.wait(Deadline::after({}));
  ASSERT_TRUE(rest.is_ok()) << rest.status().message();
  meet(transport);
}

void an_early_notify_ends_the_next_wait(Transport& transport) {
  transport.notify();
  transport.notify();
  const auto woken = transport.wait(soon());
  ASSERT_TRUE(woken.is_ok()) << woken.status().message();
  EXPECT_FALSE(woken.value());
  // Two notifies before a wait count once.
  const auto again = transport.wait(Deadline::after(milliseconds(20)));
  ASSERT_TRUE(again.is_ok()) << again.status().message();
  EXPECT_FALSE(again.value());
}

void wait_ends_at_its_deadline_and_sleeps(Transport& transport) {
  rusage before{};
  rusage after{};
  ASSERT_EQ(::getrusage(RUSAGE_THREAD, &before), 0);
  const auto start = std::chrono::steady_clock::now();
  const auto woken = transport.wait(Deadline::after(milliseconds(500)));
  const auto waited = std::chrono::steady_clock::now() - start;
  ASSERT_EQ(::getrusage(RUSAGE_THREAD, &after), 0);
  ASSERT_TRUE(woken.is_ok()) << woken.status().message();
  EXPECT_FALSE(woken.value());
  EXPECT_GE(waited, milliseconds(500));
  const auto microseconds = [](const timeval& time) { return time.tv_sec * 1'000'000L + time.tv_usec; };
  const long busy = microseconds(after.ru_utime) + microseconds(after.ru_stime) -
                    microseconds(before.ru_utime) - microseconds(before.ru_stime);
  // One that spins or polls would use all of the half second, or as much of it as the machine gives.
  EXPECT_LT(busy, 100'000) << "microseconds of processor time in half a second of waiting";
}

void the_first_abort_is_kept(Transport& transport) {
  transport.abort(Status::aborted("the first reason"));
  transport.abort(Status::shut_down("the second reason"));
  std::vector<Bytes> all;
  const auto is_kept = [](const Status& status) {
    EXPECT_EQ(status.code(), StatusCode::aborted);
    EXPECT_EQ(status.message(), "the first reason");
  };
  is_kept(transport.all_gather({}, all, soon()));
  is_kept(transport.wait(soon()).status());
  Bytes one(1);
  const int peer = (transport.rank() + 1) % transport.size();
  if (transport.size() > 1) is_kept(transport.exchange(peer, one, peer, one, soon()));
}

void abort_ends_a_blocked_call(Transport& transport) {
  std::thread aborter([&] {
    std::this_thread::sleep_for(milliseconds(50));
    transport.abort(Status::aborted("told to stop"));
  });
  Status status;
  const auto start = std::chrono::steady_clock::now();
  if (transport.rank() == 0) {
    // May first see that the others have begun.
    auto woken = transport.wait(soon());
    while (woken.is_ok()) woken = transport.wait(soon());
    status = woken.status();
  } else {
    // Rank 0 never joins.
    std::vector<Bytes> all;
    status = transport.all_gather(Bytes(500'000), all, soon());
  }
  aborter.join();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(25));
  EXPECT_EQ(status.code(), StatusCode::aborted) << status.message();
}

void an_abort_reaches_the_others(Transport& transport) {
  const int culprit = transport.size() - 1;
  if (transport.rank() == culprit) {
    std::this_thread::sleep_for(milliseconds(30));
    transport.abort(Status::aborted("disk on fire"));
    return;
  }
  std::vector<Bytes> all;
  const Status status = transport.all_gather({}, all, soon());
  EXPECT_EQ(status.code(), StatusCode::aborted) << status.message();
  EXPECT_EQ(transport.wait(soon()).status().message(), status.message()) << "the first failure is not kept";
}

void a_passed_deadline_is_told(Transport& transport) {
  // Rank 0 does not come.
  if (transport.rank() == 0) return;
  std::vector<Bytes> all;
  const Status status = transport.all_gather(Bytes(10), all, Deadline::after(milliseconds(100)));
  EXPECT_EQ(status.code(), StatusCode::timed_out) << status.message();
  EXPECT_NE(status.message().find("rank " + std::to_string(transport.rank())), std::string::npos)
      << status.message();
}

constexpr TransportCheck kChecks[] = {
    {"ExchangeAroundARing", exchange_around_a_ring, 2},
    {"ExchangeBetweenAllPairs", exchange_between_all_pairs, 2},
    {"ExchangeInOneDirection", exchange_in_one_direction, 2},
    {"AllGatherOfDifferentLengths", all_gather_of_different_lengths},
    {"MessagesKeepTheirOrder", messages_keep_their_order},
    {"ABadPeerIsTheCallersBug", a_bad_peer_is_the_callers_bug},
    {"WaitWakesWhenAPeerBegins", wait_wakes_when_a_peer_begins, 2},
    {"WaitWakesOnNotify", wait_wakes_on_notify},
    {"AnEarlyNotifyEndsTheNextWait", an_early_notify_ends_the_next_wait},
    {"WaitEndsAtItsDeadlineAndSleeps", wait_ends_at_its_deadline_and_sleeps},
    {"TheFirstAbortIsKept", the_first_abort_is_kept, 1, true},
    {"AbortEndsABlockedCall", abort_ends_a_blocked_call, 1, true},
    {"AnAbortReachesTheOthers", an_abort_reaches_the_others, 2, true, true},
    {"APassedDeadlineIsTold", a_passed_deadline_is_told, 2, true},
};

}  // namespace

std::span<const TransportCheck> transport_checks() { return kChecks; }

}  // namespace hvd
