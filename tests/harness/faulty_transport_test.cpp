#include "tests/harness/faulty_transport.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>

#include "tests/harness/manual_clock.h"
#include "tests/harness/seed.h"

namespace hvd {
namespace {

// Counts what reaches it.
struct Counts {
  std::atomic<int> exchanges = 0;
  std::atomic<int> gathers = 0;
  std::atomic<int> aborts = 0;
};

class CountingTransport final : public Transport {
 public:
  explicit CountingTransport(Counts& counts) : counts_(counts) {}
  const char* name() const override { return "counting"; }
  int rank() const override { return 3; }
  int size() const override { return 5; }
  Status exchange(int, std::span<const std::byte>, int, std::span<std::byte>, Deadline) override {
    ++counts_.exchanges;
    return {};
  }
  Status all_gather(std::span<const std::byte>, std::vector<Bytes>&, Deadline) override {
    ++counts_.gathers;
    return {};
  }
  Result<bool> wait(Deadline) override { return true; }
  void notify() override {}
  void abort(const Status&) override { ++counts_.aborts; }

 private:
  Counts& counts_;
};

Status exchange(Transport& transport, Deadline deadline = Deadline::never()) {
  return transport.exchange(0, {}, 1, {}, deadline);
}
Status gather(Transport& transport, Deadline deadline = Deadline::never()) {
  std::vector<Bytes> all;
  return transport.all_gather({}, all, deadline);
}

TEST(FaultyTransport, WithoutFaultsPassesEverythingOn) {
  Counts counts;
  FaultyTransport transport(std::make_unique<CountingTransport>(counts), {});
  EXPECT_TRUE(exchange(transport).is_ok());
  EXPECT_TRUE(gather(transport).is_ok());
  EXPECT_TRUE(transport.wait(Deadline::never()).is_ok());
  EXPECT_EQ(transport.rank(), 3);
  EXPECT_EQ(transport.size(), 5);
  EXPECT_EQ(transport.calls(), 2);
  EXPECT_EQ(counts.exchanges, 1);
  EXPECT_EQ(counts.gathers, 1);
}

TEST(FaultyTransport, FailsAtTheCallNamedAndEverAfter) {
  Counts counts;
  FaultyTransport transport(std::make_unique<CountingTransport>(counts),
                            {.kind = TransportFaults::Kind::fail, .at_call = 2});
  EXPECT_TRUE(exchange(transport).is_ok());
  EXPECT_TRUE(gather(transport).is_ok());
  EXPECT_EQ(exchange(transport).code(), StatusCode::aborted);
  EXPECT_EQ(gather(transport).code(), StatusCode::aborted);
  EXPECT_EQ(transport.wait(Deadline::never()).status().code(), StatusCode::aborted);
  EXPECT_EQ(counts.exchanges, 1);
  EXPECT_EQ(counts.aborts, 1);
}

TEST(FaultyTransport, VanishesUntilTheDeadline) {
  Counts counts;
  FaultyTransport transport(std::make_unique<CountingTransport>(counts),
                            {.kind = TransportFaults::Kind::vanish, .at_call = 0});
  EXPECT_EQ(exchange(transport, Deadline::after(std::chrono::milliseconds(5))).code(), StatusCode::timed_out);
  EXPECT_EQ(gather(transport, Deadline::after(std::chrono::milliseconds(5))).code(), StatusCode::timed_out);
  EXPECT_EQ(counts.exchanges + counts.gathers, 0);
}

TEST(FaultyTransport, AnAbortEndsTheSilence) {
  Counts counts;
  FaultyTransport transport(std::make_unique<CountingTransport>(counts),
                            {.kind = TransportFaults::Kind::vanish, .at_call = 0});
  std::thread other([&] { transport.abort(Status::shut_down("enough")); });
  EXPECT_EQ(exchange(transport).code(), StatusCode::shut_down);
  other.join();
  EXPECT_EQ(counts.aborts, 1);
}

TEST(FaultyTransport, DelaysNeverPassTheDeadline) {
  for_each_seed(5, 100, [](std::uint64_t seed) {
    Counts counts;
    FaultyTransport transport(std::make_unique<CountingTransport>(counts),
                              {.seed = seed, .longest_delay = std::chrono::hours(1)});
    EXPECT_TRUE(exchange(transport, Deadline::after(std::chrono::milliseconds(1))).is_ok());
    EXPECT_EQ(counts.exchanges, 1);
  });
}

TEST(ManualClock, MovesOnlyByHand) {
  ManualClock clock;
  const auto before = clock.now();
  EXPECT_EQ(clock.now(), before);
  clock.advance(std::chrono::seconds(60));
  EXPECT_EQ(clock.now() - before, std::chrono::seconds(60));
}

}  // namespace
}  // namespace hvd
