// Operations of all kinds and sizes one after the other, with ranks that dawdle: whatever an operation leaves behind (a slot still
// read, a counter) meets every other.
#include <chrono>
#include <random>
#include <thread>

#include "tests/conformance/suite_checks.h"
#include "tests/harness/seed.h"

namespace hvd {
namespace {

struct Step {
  std::uint64_t kind;
  std::size_t count;
  int root;
  Batch batch;
};

// The same on every rank.
Step draw_step(std::mt19937_64& plan, int n) {
  const auto size = static_cast<std::size_t>(n);
  Step step;
  step.kind = plan() % 12;
  step.count = plan() % (std::size_t{1} << (4 + plan() % 12));
  step.root = static_cast<int>(plan() % size);
  step.batch.place = kPlaces[plan() % 2];
  step.batch.seed = plan();
  return step;
}

void check_step(const Member& member, Step step) {
  const auto size = static_cast<std::size_t>(member.size);
  const auto has = [&](OpKind kind) {
    return member.collectives.supports(kind, DataType::float32, ReduceOp::sum);
  };
  Batch& batch = step.batch;
  if (step.kind == 0) {
    ASSERT_TRUE(member.collectives.barrier(patience()).is_ok());
  } else if (step.kind <= 2) {
    batch.counts = split(step.count, 1 + batch.seed % 5);
    ASSERT_NO_FATAL_FAILURE(check_broadcast(member, step.root, batch));
  } else if (step.kind <= 4 && has(OpKind::allgather)) {
    batch.counts = uneven(step.count, size, batch.seed);
    ASSERT_NO_FATAL_FAILURE(check_allgather(member, batch));
  } else if (step.kind <= 6 && has(OpKind::alltoall)) {
    batch.counts = uneven(step.count, size * size, batch.seed);
    ASSERT_NO_FATAL_FAILURE(check_alltoall(member, batch));
  } else if (step.kind <= 8 && has(OpKind::reducescatter)) {
    batch.counts = uneven(step.count, size, batch.seed);
    ASSERT_NO_FATAL_FAILURE(check_reducescatter(member, batch));
  } else {
    batch.counts = split(step.count, 1 + batch.seed % 5);
    ASSERT_NO_FATAL_FAILURE(check_allreduce(member, batch));
  }
}

TEST_P(CollectivesSuite, AnyOrderOfOperations) {
  const CollectivesWorld& world = GetParam();
  const auto run = [&](std::uint64_t seed) {
    for (const int n : world.sizes) {
      world.run(n, [&](Collectives& collectives, int rank) {
        std::mt19937_64 plan(seed), own(seed + 1 + static_cast<std::uint64_t>(rank));
        for (int round = 0; round < 60; ++round) {
          const Step step = draw_step(plan, n);
          if (own() % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(own() % 300));
          ASSERT_NO_FATAL_FAILURE(check_step({world, collectives, rank, n}, step));
        }
      });
    }
  };
  if (world.ranks_are_threads) return for_each_seed(2, 100, run);
  // Ranks as processes would draw different ones.
  for (const std::uint64_t seed : {1, 2}) run(seed);
}

}  // namespace
}  // namespace hvd
