// What every implementation of Collectives must do where each rank has a part of its own: allgather, alltoall, reducescatter.
#include "tests/conformance/collectives_reference.h"
#include "tests/conformance/suite_checks.h"

namespace hvd {
namespace {

using Counts = std::vector<std::size_t>;

// counts[i] = count_of(i) for i in [0, length).
template <class CountOf>
Counts counts_of(std::size_t length, CountOf&& count_of) {
  Counts counts;
  for (std::size_t i = 0; i < length; ++i) counts.push_back(count_of(i));
  return counts;
}

// One count a rank.
std::vector<Counts> shapes_by_rank(std::size_t n) {
  return {counts_of(n, [](std::size_t) { return 0; }),
          counts_of(n, [](std::size_t) { return 1; }),
          counts_of(n, [](std::size_t rank) { return rank; }),
          counts_of(n, [&](std::size_t rank) { return rank + 1 == n ? 131 : 0; }),
          counts_of(n, [&](std::size_t rank) { return rank == 0 ? 1001 : 0; }),
          counts_of(n, [](std::size_t rank) { return rank % 2 == 1 ? 0 : 33 + 2 * rank; })};
}

// One count a pair of ranks: [from × n + to].
std::vector<Counts> shapes_by_pair(std::size_t n) {
  const auto from = [n](std::size_t pair) { return pair / n; };
  const auto to = [n](std::size_t pair) { return pair % n; };
  return {counts_of(n * n, [](std::size_t) { return 0; }),
          counts_of(n * n, [](std::size_t) { return 1; }),
          counts_of(n * n, [&](std::size_t pair) { return (3 * from(pair) + to(pair)) % 5; }),
          counts_of(n * n, [&](std::size_t pair) { return to(pair) == 0 ? 701 : 0; }),
          counts_of(n * n, [&](std::size_t pair) { return from(pair) + 1 == n ? 1001 : 0; }),
          counts_of(n * n, [&](std::size_t pair) { return from(pair) == to(pair) ? 0 : 17 + pair; })};
}

DataType dtype_at(int index) { return static_cast<DataType>(index); }

TEST_P(CollectivesSuite, AllgatherOfEveryType) {
  const CollectivesWorld& world = GetParam();
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int rank) {
      const Member member{world, collectives, rank, n};
      std::uint64_t seed = 0;
      for (int index = 0; index < kDataTypeCount; ++index) {
        if (!collectives.supports(OpKind::allgather, dtype_at(index), ReduceOp::sum)) continue;
        for (const Counts& counts : shapes_by_rank(static_cast<std::size_t>(n))) {
          for (const Place place : kPlaces) {
            const Batch batch{counts, dtype_at(index), ReduceOp::sum, 1.0, place, ++seed};
            ASSERT_NO_FATAL_FAILURE(check_allgather(member, batch));
          }
        }
      }
    });
  }
}

TEST_P(CollectivesSuite, AlltoallOfEveryType) {
  const CollectivesWorld& world = GetParam();
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int rank) {
      const Member member{world, collectives, rank, n};
      std::uint64_t seed = 0;
      for (int index = 0; index < kDataTypeCount; ++index) {
        if (!collectives.supports(OpKind::alltoall, dtype_at(index), ReduceOp::sum)) continue;
        for (const Counts& counts : shapes_by_pair(static_cast<std::size_t>(n))) {
          ASSERT_NO_FATAL_FAILURE(
              check_alltoall(member, {.counts = counts, .dtype = dtype_at(index), .seed = ++seed}));
        }
      }
    });
  }
}

TEST_P(CollectivesSuite, ReducescatterOfEveryTypeAndOperation) {
  const CollectivesWorld& world = GetParam();
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int rank) {
      const Member member{world, collectives, rank, n};
      std::uint64_t seed = 0;
      for (int index = 0; index < kDataTypeCount; ++index) {
        for (const ReduceOp op : kOps) {
          if (!collectives.supports(OpKind::reducescatter, dtype_at(index), op)) continue;
          for (const Counts& counts : shapes_by_rank(static_cast<std::size_t>(n))) {
            ++seed;
            ASSERT_NO_FATAL_FAILURE(
                check_reducescatter(member, {.counts = counts,
                                             .dtype = dtype_at(index),
                                             .op = op,
                                             .scale = scale_for(member, dtype_at(index), op, seed),
                                             .seed = seed}));
          }
        }
      }
    });
  }
}

TEST_P(CollectivesSuite, LargeParts) {
  const CollectivesWorld& world = GetParam();
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int rank) {
      const Member member{world, collectives, rank, n};
      const auto size = static_cast<std::size_t>(n);
      const std::size_t count = (std::size_t{1} << 19) / (size + 1) + 3;
      const auto has = [&](OpKind kind) {
        return collectives.supports(kind, DataType::float32, ReduceOp::sum);
      };
      for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        const bool is_even = seed % 2 == 0;
        Batch batch{.scale = 1.0 / 8, .place = kPlaces[seed / 2 % 2], .seed = seed};
        batch.counts = is_even ? split(count, size) : uneven(count, size, seed);
        if (has(OpKind::allgather)) {
          ASSERT_NO_FATAL_FAILURE(check_allgather(member, batch));
        }
        if (has(OpKind::reducescatter)) {
          ASSERT_NO_FATAL_FAILURE(check_reducescatter(member, batch));
        }
        batch.counts = is_even ? split(count, size * size) : uneven(count, size * size, seed);
        if (has(OpKind::alltoall)) {
          ASSERT_NO_FATAL_FAILURE(check_alltoall(member, batch));
        }
      }
    });
  }
}

// Also where the backend does not add in the order of ranks: values whose rounding tells every order.
TEST_P(CollectivesSuite, ReducescatterHasTheBitsOfAllreduce) {
  const CollectivesWorld& world = GetParam();
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int rank) {
      if (!collectives.supports(OpKind::reducescatter, DataType::float32, ReduceOp::sum)) return;
      for (const std::size_t count : {61, 5003}) {
        const Counts counts = split(count, static_cast<std::size_t>(n));
        const Bytes values = sample_elements(DataType::float32, Sample::any, count, rank, count);
        const Tensors whole(*world.memory, DataType::float32, {count}, Place::out_of_place, values);
        ASSERT_TRUE(
            finish(collectives.allreduce({.slices = whole.slices(), .scale = 0.3, .deadline = patience()}))
                .is_ok());
        const Buffer input(*world.memory, values);
        const std::size_t bytes = counts[static_cast<std::size_t>(rank)] * sizeof(float);
        const Buffer part(*world.memory, bytes);
        ASSERT_TRUE(finish(collectives.reducescatter({.input = input.data(),
                                                      .output = part.data(),
                                                      .counts = counts,
                                                      .scale = 0.3,
                                                      .deadline = patience()}))
                        .is_ok());
        const Bytes all = whole.outputs();
        const std::size_t begin =
            count * static_cast<std::size_t>(rank) / static_cast<std::size_t>(n) * sizeof(float);
        const auto first = all.begin() + static_cast<std::ptrdiff_t>(begin);
        ASSERT_TRUE(part.read() == Bytes(first, first + static_cast<std::ptrdiff_t>(bytes)))
            << "rank " << rank << " of " << n << ", " << count << " elements";
      }
    });
  }
}

}  // namespace
}  // namespace hvd
