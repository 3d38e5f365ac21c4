#include "bindings/runtime/clock_alignment.h"

#include <gtest/gtest.h>

#include <vector>

#include "horovod_cpp/transport/inproc/inproc.h"
#include "tests/harness/run_ranks.h"

namespace hvd {
namespace {

using std::chrono::nanoseconds;

TEST(ClockAlignment, BelievesTheFastestAnswer) {
  // This clock is 1000 ahead; one way takes 10, but for a reply that was held up for 500.
  const std::vector<ClockSample> samples{{5000, 4010, 5520}, {6000, 5010, 6020}, {7000, 6300, 7310}};
  EXPECT_EQ(clock_ahead(samples), nanoseconds(1000));
}

TEST(ClockAlignment, KnowsClocksThatAreBehind) {
  const std::vector<ClockSample> samples{{100, 5'000'000'110, 120}};
  EXPECT_EQ(clock_ahead(samples), nanoseconds(-5'000'000'000));
}

TEST(ClockAlignment, IsNothingWithoutSamples) { EXPECT_EQ(clock_ahead({}), nanoseconds(0)); }

// Threads of one process have one clock; the error is at most half a round trip.
TEST(ClockAlignment, FindsOneClockOnOneHost) {
  const auto transports = make_inproc_transports(3);
  run_ranks(3, [&](RankScope& scope) {
    Transport& transport = *transports[static_cast<std::size_t>(scope.rank())];
    scope.guard(transport);
    const auto ahead = measure_clock_ahead(transport, Deadline::after(std::chrono::minutes(1)));
    ASSERT_TRUE(ahead.is_ok()) << ahead.status().message();
    EXPECT_LT(std::chrono::abs(ahead.value()), std::chrono::seconds(1));
    if (scope.rank() == 0) {
      EXPECT_EQ(ahead.value(), nanoseconds(0));
    }
  });
}

}  // namespace
}  // namespace hvd
