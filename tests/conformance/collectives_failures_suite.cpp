// What every implementation of Collectives must do when a rank aborts, does not come or comes too late.
#include <array>
#include <chrono>
#include <thread>

#include "tests/conformance/collectives_reference.h"
#include "tests/conformance/collectives_suite.h"
#include "tests/conformance/suite_tensors.h"

namespace hvd {
namespace {

using std::chrono::milliseconds;

struct Attempt {
  const char* name;
  std::size_t count;
};
constexpr std::array kAttempts{Attempt{"small", 10}, Attempt{"large", 300000}};

Status reduce_ones(const CollectivesWorld& world, Collectives& collectives, std::size_t count,
                   Deadline deadline) {
  const Bytes values = sample_elements(DataType::float32, Sample::whole, count, 0, 1);
  const Tensors tensors(*world.memory, DataType::float32, {count}, Place::in_place, values);
  return finish(collectives.allreduce({.slices = tensors.slices(), .deadline = deadline}));
}

TEST_P(CollectivesSuite, AbortFromAnotherThreadEndsABlockedOperation) {
  const CollectivesWorld& world = GetParam();
  if (!world.may_break) GTEST_SKIP() << "has cases of its own for failures";
  for (const Attempt& attempt : kAttempts) {
    for (const int n : world.sizes) {
      if (n == 1) continue;
      world.run(n, [&](Collectives& collectives, int rank) {
        if (rank == 0) return;  // never takes part
        std::thread aborter([&] {
          std::this_thread::sleep_for(milliseconds(20));
          collectives.abort(Status::aborted("the test ends it"));
        });
        const Status status = reduce_ones(world, collectives, attempt.count, patience());
        aborter.join();
        EXPECT_EQ(status.code(), StatusCode::aborted) << attempt.name << ": " << status.message();
        // With more than two ranks a peer's connection may have ended first.
        EXPECT_TRUE(n > 2 || status.message().find("the test ends it") != std::string::npos)
            << status.message();
        const Status later = collectives.barrier(patience());
        EXPECT_EQ(later.code(), status.code());
        EXPECT_EQ(later.message(), status.message());
      });
    }
  }
}

TEST_P(CollectivesSuite, AbortBeforeAnOperationEndsItAtOnce) {
  const CollectivesWorld& world = GetParam();
  if (!world.may_break) GTEST_SKIP() << "has cases of its own for failures";
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int) {
      collectives.abort(Status::aborted("over"));
      collectives.abort(Status::aborted("too late"));
      const Status status = reduce_ones(world, collectives, 1000, patience());
      EXPECT_EQ(status.code(), StatusCode::aborted);
      EXPECT_NE(status.message().find("over"), std::string::npos) << status.message();
      EXPECT_EQ(collectives.barrier(patience()).code(), StatusCode::aborted);
    });
  }
}

TEST_P(CollectivesSuite, ADeadlineEndsAnOperationThatARankNeverJoins) {
  const CollectivesWorld& world = GetParam();
  if (!world.may_break) GTEST_SKIP() << "has cases of its own for failures";
  for (const Attempt& attempt : kAttempts) {
    for (const int n : world.sizes) {
      if (n == 1) continue;
      world.run(n, [&](Collectives& collectives, int rank) {
        if (rank == 0) return;
        const Status status =
            reduce_ones(world, collectives, attempt.count, Deadline::after(milliseconds(30)));
        // With more than two ranks a peer may have given up first and said so.
        EXPECT_TRUE(status.code() == StatusCode::timed_out || (n > 2 && status.code() == StatusCode::aborted))
            << name_of(status.code()) << ": " << status.message();
        EXPECT_FALSE(reduce_ones(world, collectives, 1, patience()).is_ok());
      });
    }
  }
}

}  // namespace
}  // namespace hvd
