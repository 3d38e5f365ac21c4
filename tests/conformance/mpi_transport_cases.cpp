// Transport over MPI: what transport_suite.h does not ask for, because only this implementation has it.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <thread>

#include "tests/conformance/mpi_world.h"

namespace hvd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// `length` bytes that only this sender, receiver and round have.
Bytes message(std::size_t length, int from, int to, int round) {
  Bytes bytes(length);
  auto state = static_cast<std::uint32_t>(from * 7919 + to * 104729 + round * 31 + 1);
  for (auto& byte : bytes) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<std::byte>(state >> 24);
  }
  return bytes;
}

// Around what fits into the first frame.
constexpr std::size_t kLengths[] = {0, 1, 3991, 3992, 3993, 4000, 65'537, std::size_t{1} << 20};

class MpiTransport : public testing::Test {
 protected:
  Transport& transport = *mpi_world().transport;
  const int rank = mpi_world().rank();
  const int size = mpi_world().size();
  const int right = (rank + 1) % size;
  const int left = (rank + size - 1) % size;

  void SetUp() override {
    if (size < 2) GTEST_SKIP() << "a single rank has nobody to talk to";
  }
  void all_meet() {
    std::vector<Bytes> all;
    ASSERT_TRUE(transport.all_gather({}, all, case_deadline()).is_ok());
  }
};

TEST_F(MpiTransport, KeepsTheOrderOfMessages) {
  for (int round = 0; round < 500; ++round) {
    const std::size_t length = round % 7 == 0 ? 9000 : 8;
    Bytes received(length);
    ASSERT_TRUE(
        transport.exchange(right, message(length, rank, right, round), left, received, case_deadline())
            .is_ok());
    ASSERT_EQ(received, message(length, left, rank, round)) << "round " << round;
  }
}

TEST_F(MpiTransport, GathersDifferentLengths) {
  for (std::size_t i = 0; i < std::size(kLengths); ++i) {
    const auto length_of = [&](int who) {
      return kLengths[(i + static_cast<std::size_t>(who)) % std::size(kLengths)];
    };
    std::vector<Bytes> all(1, Bytes(5));
    const Status status = transport.all_gather(message(length_of(rank), rank, rank, 0), all, case_deadline());
    ASSERT_TRUE(status.is_ok()) << status.message();
    ASSERT_EQ(all.size(), static_cast<std::size_t>(size));
    for (int who = 0; who < size; ++who) {
      ASSERT_EQ(all[static_cast<std::size_t>(who)], message(length_of(who), who, who, 0));
    }
  }
}

TEST_F(MpiTransport, GathersManyTimesWithRanksAtDifferentSpeeds) {
  std::vector<Bytes> all;
  for (int round = 0; round < 300; ++round) {
    if (round % 50 == rank * 7) std::this_thread::sleep_for(milliseconds(5));
    ASSERT_TRUE(transport.all_gather(message(20, rank, 0, round), all, case_deadline()).is_ok());
    for (int who = 0; who < size; ++who) {
      ASSERT_EQ(all[static_cast<std::size_t>(who)], message(20, who, 0, round)) << "round " << round;
    }
  }
}

TEST_F(MpiTransport, WaitIgnoresAnExchange) {
  all_meet();
  if (rank == 0) {
    std::this_thread::sleep_for(milliseconds(50));  // so that the peer's message is there
    const auto arrived = transport.wait(Deadline::after(milliseconds(50)));
    ASSERT_TRUE(arrived.is_ok());
    EXPECT_FALSE(arrived.value());
  }
  Bytes received(16);
  ASSERT_TRUE(
      transport.exchange(right, message(16, rank, right, 0), left, received, case_deadline()).is_ok());
  // Over the other channel: nobody may begin the next case's gathering while rank 0 waits.
  ASSERT_TRUE(mpi_world().collectives->barrier(case_deadline()).is_ok());
}

TEST_F(MpiTransport, AnIdleWaitSleeps) {
  all_meet();
  const auto cpu_seconds = [] {
    rusage usage{};
    ::getrusage(RUSAGE_THREAD, &usage);
    return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
  };
  const double before = cpu_seconds();
  const auto arrived = transport.wait(Deadline::after(seconds(3)));
  const double share = (cpu_seconds() - before) / 3;
  ASSERT_TRUE(arrived.is_ok());
  EXPECT_FALSE(arrived.value());
  if (rank == 0) std::printf("an idle wait takes %.2f %% of a core\n", share * 100);
  EXPECT_LT(share, 0.1);  // spinning would be 1.0; the bound is generous for slow and shared machines
  std::this_thread::sleep_for(milliseconds(200));
  all_meet();
}

}  // namespace
}  // namespace hvd
