// The time of day jumps, an hour forth and back with every look at it: nothing that waits may notice. These definitions take the place of
// libc's in the whole process, for libstdc++ too; where the kernel is given a time of day to wait for, it waits for an hour, or not at all.
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <thread>

#include "horovod_cpp/base/futex.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/rendezvous/client.h"
#include "horovod_cpp/rendezvous/server.h"
#include "horovod_cpp/transport/tcp/tcp_contact.h"
#include "horovod_cpp/transport/tcp/tcp_mesh.h"
#include "tests/harness/inproc_world.h"
#include "tests/harness/run_ranks.h"
#include "tests/ranks/session_calls.h"

namespace {

std::atomic<long> looks{0};

long jump() {
  constexpr long kHour = 3600;
  return (looks.fetch_add(1, std::memory_order_relaxed) % 3 - 1) * kHour;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  const long failed = ::syscall(SYS_clock_gettime, clock, time);
  if (failed == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += jump();
  return static_cast<int>(failed);
}

int gettimeofday(timeval* __restrict time, void* __restrict /*zone*/) noexcept {
  timespec now{};
  const int failed = clock_gettime(CLOCK_REALTIME, &now);
  *time = {now.tv_sec, now.tv_nsec / 1000};
  return failed;
}

time_t time(time_t* out) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}

}  // extern "C"

namespace hvd {
namespace {

using std::chrono::milliseconds;

// How long `wait` took by the clock that does not jump.
template <class Wait>
milliseconds duration_of(Wait&& wait) {
  const auto start = std::chrono::steady_clock::now();
  wait();
  return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - start);
}

// Not before its time (which would end jobs that are well), and not an hour after it.
void expect_wait_of(milliseconds expected, milliseconds took, const char* what) {
  EXPECT_GE(took, expected) << what;
  EXPECT_LT(took, std::chrono::minutes(2)) << what;
}

TEST(JumpingClock, IsInPlace) {
  const auto first = std::chrono::system_clock::now();
  const auto second = std::chrono::system_clock::now();
  EXPECT_GT(std::chrono::abs(second - first), std::chrono::minutes(50));
  EXPECT_LT(std::chrono::steady_clock::now() - std::chrono::steady_clock::now(), std::chrono::minutes(1));
}

TEST(JumpingClock, DisturbsNoSession) {
  for (const auto backend : {InprocWorld::Backend::shm, InprocWorld::Backend::ring}) {
    constexpr int kRanks = 3;
    InprocWorld world(kRanks, backend);
    run_ranks(kRanks, [&](RankScope& scope) {
      const auto session = world.open(scope);
      std::vector<float> values(5000, static_cast<float>(scope.rank()));
      const Declaration average = float_tensor(OpKind::allreduce, "values", {5000});
      for (int round = 0; round < 50; ++round) {
        // The others sleep until it comes.
        if (round == 25 && scope.rank() == 1) std::this_thread::sleep_for(milliseconds(50));
        ASSERT_TRUE(submit(*session, average, values.data()).wait(soon()).is_ok());
      }
      EXPECT_FLOAT_EQ(values.front(), 1.0F);
      EXPECT_TRUE(session->shutdown(soon()).is_ok());
    });
  }
}

TEST(JumpingClock, DoesNotShortenOrLengthenDeadlines) {
  constexpr milliseconds kPatience{60};
  InprocWorld world(2);
  std::barrier<> both_have_waited(2);
  run_ranks(2, [&](RankScope& scope) {
    const auto session = world.open(scope);
    float value = 1.0F;
    const Work alone =
        submit(*session, float_tensor(OpKind::allreduce, text("of rank ", scope.rank()), {1}), &value);
    for (int i = 0; i < 3; ++i) {
      expect_wait_of(kPatience, duration_of([&] {
                       EXPECT_EQ(alone.wait(Deadline::after(kPatience)).code(), StatusCode::timed_out);
                     }),
                     "Work::wait");
    }
    both_have_waited.arrive_and_wait();
    session->abort(Status::aborted("enough"));
  });
  std::atomic<std::uint32_t> word{0};
  expect_wait_of(kPatience, duration_of([&] { futex_wait(word, 0, Deadline::after(kPatience)); }),
                 "futex_wait");
}

TEST(JumpingClock, DoesNotEndAMeeting) {
  constexpr milliseconds kPatience{300};
  const auto server = RendezvousServer::listen("127.0.0.1", 2, "key");
  ASSERT_TRUE(server.is_ok());
  std::atomic<bool> is_over{false};
  std::thread loop([&] {
    while (!is_over) {
      std::this_thread::sleep_for(milliseconds(1));
      server.value()->handle_events();
    }
  });
  const std::string address = server.value()->address();
  expect_wait_of(kPatience, duration_of([&] {
                   EXPECT_EQ(rendezvous(address, "key", 0, 2, {}, Deadline::after(kPatience)).status().code(),
                             StatusCode::timed_out);
                 }),
                 "rendezvous");
  run_ranks(2, [&](RankScope& scope) {
    if (scope.rank() == 1) std::this_thread::sleep_for(kPatience);
    const auto met = rendezvous(address, "key", scope.rank(), 2, {}, soon());
    EXPECT_TRUE(met.is_ok()) << met.status().message();
  });
  is_over = true;
  loop.join();
}

TEST(JumpingClock, DoesNotEndTheWaitForAConnection) {
  constexpr milliseconds kPatience{100};
  const auto listener = TcpListener::open();
  ASSERT_TRUE(listener.is_ok());
  const std::vector<TcpContact> contacts(2, listener.value().contact());
  expect_wait_of(kPatience, duration_of([&] {
                   EXPECT_EQ(
                       connect_tcp_mesh(0, 2, listener.value(), contacts, "key", Deadline::after(kPatience))
                           .status()
                           .code(),
                       StatusCode::timed_out);
                 }),
                 "connect_tcp_mesh");
}

}  // namespace
}  // namespace hvd
