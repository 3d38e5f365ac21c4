// What every implementation of Collectives must do when a rank aborts, does not come or comes too late.
#include <array>
#include <chrono>
#include <functional>
#include <numeric>
#include <thread>

#include "tests/conformance/collectives_reference.h"
#include "tests/conformance/collectives_suite.h"
#include "tests/conformance/suite_checks.h"

namespace hvd {
namespace {

using std::chrono::milliseconds;

// Every rank contributes `count` elements, or a part of them for each.
using Operation = Status (*)(const CollectivesWorld& world, Collectives& collectives, int n,
                             std::size_t count, Deadline deadline);

Status reduce_ones(const CollectivesWorld& world, Collectives& collectives, int, std::size_t count,
                   Deadline deadline) {
  const Bytes values = sample_elements(DataType::float32, Sample::whole, count, 0, 1);
  const Tensors tensors(*world.memory, DataType::float32, {count}, Place::in_place, values);
  return finish(collectives.allreduce({.slices = tensors.slices(), .deadline = deadline}));
}

Status gather(const CollectivesWorld& world, Collectives& collectives, int n, std::size_t count,
              Deadline deadline) {
  const std::vector<std::size_t> counts(static_cast<std::size_t>(n), count);
  const Buffer input(*world.memory, count), output(*world.memory, count * counts.size());
  return finish(collectives.allgather({.input = input.data(),
                                       .output = output.data(),
                                       .counts = counts,
                                       .dtype = DataType::uint8,
                                       .deadline = deadline}));
}

Status exchange(const CollectivesWorld& world, Collectives& collectives, int n, std::size_t count,
                Deadline deadline) {
  const std::vector<std::size_t> counts(static_cast<std::size_t>(n), count);
  const Buffer input(*world.memory, count * counts.size()), output(*world.memory, count * counts.size());
  return finish(collectives.alltoall({.input = input.data(),
                                      .output = output.data(),
                                      .send_counts = counts,
                                      .receive_counts = counts,
                                      .dtype = DataType::uint8,
                                      .deadline = deadline}));
}

Status reduce_parts(const CollectivesWorld& world, Collectives& collectives, int n, std::size_t count,
                    Deadline deadline) {
  const std::vector<std::size_t> counts(static_cast<std::size_t>(n), count);
  const Buffer input(*world.memory, count * counts.size()), output(*world.memory, count);
  return finish(collectives.reducescatter({.input = input.data(),
                                           .output = output.data(),
                                           .counts = counts,
                                           .dtype = DataType::uint8,
                                           .deadline = deadline}));
}

struct Attempt {
  const char* name;
  OpKind kind;
  Operation run;
  std::size_t count;
  bool in_subgroup = false;  // of all ranks, with their parent idle
};
constexpr std::array kAttempts{
    Attempt{"small allreduce", OpKind::allreduce, reduce_ones, 10},
    Attempt{"large allreduce", OpKind::allreduce, reduce_ones, 300000},
    Attempt{"small allgather", OpKind::allgather, gather, 10},
    Attempt{"large allgather", OpKind::allgather, gather, 1200000},
    Attempt{"small alltoall", OpKind::alltoall, exchange, 10},
    Attempt{"large alltoall", OpKind::alltoall, exchange, 300000},
    Attempt{"small reducescatter", OpKind::reducescatter, reduce_parts, 10},
    Attempt{"large reducescatter", OpKind::reducescatter, reduce_parts, 300000},
    Attempt{"allreduce in a subgroup", OpKind::allreduce, reduce_ones, 10, true},
    Attempt{"allgather in a subgroup", OpKind::allgather, gather, 1200000, true},
};

// body(collectives, rank) for the attempt's world or, once it is open on all ranks, for its subgroup.
void run_attempt(const CollectivesWorld& world, const Attempt& attempt, int n,
                 const std::function<void(Collectives& collectives, int rank)>& body) {
  const testing::ScopedTrace trace(__FILE__, __LINE__, attempt.name);
  std::vector<int> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  // Peers may still need a rank's subgroup when that rank has ended.
  std::vector<std::unique_ptr<Collectives>> subgroups(all.size());
  world.run(n, [&](Collectives& collectives, int rank) {
    if (!collectives.supports(attempt.kind, DataType::uint8, ReduceOp::sum)) return;
    if (!attempt.in_subgroup) return body(collectives, rank);
    auto opened = collectives.subgroup(all, patience());
    ASSERT_TRUE(opened.is_ok()) << opened.status().message();
    body(*(subgroups[static_cast<std::size_t>(rank)] = std::move(opened).value()), rank);
  });
}

TEST_P(CollectivesSuite, AbortFromAnotherThreadEndsABlockedOperation) {
  const CollectivesWorld& world = GetParam();
  if (!world.may_break) GTEST_SKIP() << "has cases of its own for failures";
  for (const Attempt& attempt : kAttempts) {
    for (const int n : world.sizes) {
      if (n == 1 || n > 4) continue;
      run_attempt(world, attempt, n, [&](Collectives& collectives, int rank) {
        if (rank == 0) return;  // never takes part
        std::thread aborter([&] {
          std::this_thread::sleep_for(milliseconds(20));
          collectives.abort(Status::aborted("the test ends it"));
        });
        const Status status = attempt.run(world, collectives, n, attempt.count, patience());
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
      for (const Attempt& attempt : kAttempts) {
        if (!collectives.supports(attempt.kind, DataType::uint8, ReduceOp::sum)) continue;
        const Status status = attempt.run(world, collectives, n, attempt.count, patience());
        EXPECT_EQ(status.code(), StatusCode::aborted) << attempt.name;
        EXPECT_NE(status.message().find("over"), std::string::npos)
            << attempt.name << ": " << status.message();
      }
      const int first = 0;
      EXPECT_EQ(collectives.subgroup({&first, 1}, patience()).status().code(), StatusCode::aborted);
      EXPECT_EQ(collectives.barrier(patience()).code(), StatusCode::aborted);
    });
  }
}

TEST_P(CollectivesSuite, ADeadlineEndsAnOperationThatARankNeverJoins) {
  const CollectivesWorld& world = GetParam();
  if (!world.may_break) GTEST_SKIP() << "has cases of its own for failures";
  for (const Attempt& attempt : kAttempts) {
    for (const int n : world.sizes) {
      if (n == 1 || n > 4) continue;
      run_attempt(world, attempt, n, [&](Collectives& collectives, int rank) {
        if (rank == 0) return;
        const Status status =
            attempt.run(world, collectives, n, attempt.count, Deadline::after(milliseconds(30)));
        // With more than two ranks a peer may have given up first and said so.
        EXPECT_TRUE(status.code() == StatusCode::timed_out || (n > 2 && status.code() == StatusCode::aborted))
            << name_of(status.code()) << ": " << status.message();
        EXPECT_FALSE(attempt.run(world, collectives, n, 1, patience()).is_ok());
      });
    }
  }
}

TEST_P(CollectivesSuite, AnAbortedSubgroupLeavesItsParentAlone) {
  const CollectivesWorld& world = GetParam();
  if (!world.may_break) GTEST_SKIP() << "has cases of its own for failures";
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int rank) {
      std::vector<int> even;
      for (int r = 0; r < n; r += 2) even.push_back(r);
      auto subgroup = collectives.subgroup(even, patience());
      ASSERT_TRUE(subgroup.is_ok()) << subgroup.status().message();
      if (*subgroup != nullptr) {
        (*subgroup)->abort(Status::aborted("the subgroup is over"));
        const Status ended = (*subgroup)->barrier(patience());
        EXPECT_EQ(ended.code(), StatusCode::aborted) << ended.message();
      }
      ASSERT_NO_FATAL_FAILURE(check_every_operation({world, collectives, rank, n}, 1));
    });
  }
}

TEST_P(CollectivesSuite, RequestsThatMakeNoSenseAreRefusedAndBreakNothing) {
  const CollectivesWorld& world = GetParam();
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int rank) {
      const Buffer input(*world.memory, 64), output(*world.memory, 64);
      const std::vector<std::size_t> too_many(static_cast<std::size_t>(n) + 1, 0);
      const auto refused = [](const Status& status) {
        EXPECT_EQ(status.code(), StatusCode::invalid_argument) << status.message();
      };
      const auto has = [&](OpKind kind) {
        return collectives.supports(kind, DataType::float32, ReduceOp::sum);
      };
      if (has(OpKind::allgather)) {
        refused(collectives.allgather({.input = input.data(), .output = output.data(), .counts = too_many})
                    .status());
      }
      if (has(OpKind::alltoall)) {
        refused(collectives
                    .alltoall({.input = input.data(),
                               .output = output.data(),
                               .send_counts = too_many,
                               .receive_counts = too_many})
                    .status());
      }
      if (has(OpKind::reducescatter)) {
        refused(
            collectives.reducescatter({.input = input.data(), .output = output.data(), .counts = too_many})
                .status());
      }
      for (const std::vector<int>& members : {std::vector<int>{}, {n}, {-1, 0}, {0, 0}})
        refused(collectives.subgroup(members, patience()).status());
      ASSERT_NO_FATAL_FAILURE(check_every_operation({world, collectives, rank, n}, 2));
    });
  }
}

}  // namespace
}  // namespace hvd
