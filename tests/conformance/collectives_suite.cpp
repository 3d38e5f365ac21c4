#include "tests/conformance/collectives_suite.h"

#include <atomic>
#include <cstring>
#include <thread>

#include "tests/conformance/collectives_reference.h"
#include "tests/conformance/suite_checks.h"

namespace hvd {

// The suite may be linked into programs that instantiate only a part of it.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CollectivesSuite);

namespace {

class HostSuiteMemory final : public SuiteMemory {
 public:
  std::shared_ptr<void> allocate(std::size_t bytes) override {
    return std::shared_ptr<void>(::operator new(bytes + 1), [](void* memory) { ::operator delete(memory); });
  }
  void write(void* device, const void* host, std::size_t bytes) override { copy(device, host, bytes); }
  void read(void* host, const void* device, std::size_t bytes) override { copy(host, device, bytes); }

 private:
  // An empty tensor may have no memory at all.
  static void copy(void* to, const void* from, std::size_t bytes) {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }
};

TEST_P(CollectivesSuite, AllreduceOfEveryTypeAndOperation) {
  const CollectivesWorld& world = GetParam();
  const std::vector<std::vector<std::size_t>> shapes{{1}, {2}, {3}, {0}, {}, {0, 1, 0, 1001, 3, 0}};
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int rank) {
      const Member member{world, collectives, rank, n};
      std::uint64_t seed = 0;
      for (int index = 0; index < kDataTypeCount; ++index) {
        const auto dtype = static_cast<DataType>(index);
        for (const ReduceOp op : kOps) {
          if (!collectives.supports(OpKind::allreduce, dtype, op)) continue;
          for (const auto& counts : shapes) {
            ++seed;
            const double scale = scale_for(member, dtype, op, seed);
            const Place place = kPlaces[seed % 2];
            ASSERT_NO_FATAL_FAILURE(check_allreduce(member, {counts, dtype, op, scale, place, seed}));
          }
        }
      }
    });
  }
}

TEST_P(CollectivesSuite, AllreduceOfLargeBatches) {
  const CollectivesWorld& world = GetParam();
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int rank) {
      const Member member{world, collectives, rank, n};
      const std::size_t count = (std::size_t{1} << 20) / static_cast<std::size_t>(n + 1) + 3;
      for (const Place place : kPlaces) {
        for (const std::size_t slices : {1, 161}) {
          const double scale = 1.0 / 8;
          const Batch batch{split(count, slices), DataType::float32, ReduceOp::sum, scale, place, slices};
          ASSERT_NO_FATAL_FAILURE(check_allreduce(member, batch));
        }
      }
      const Batch longs{split(count / 2, 7), DataType::int64, ReduceOp::max, 1.0, Place::in_place, 5};
      ASSERT_NO_FATAL_FAILURE(check_allreduce(member, longs));
    });
  }
}

TEST_P(CollectivesSuite, AllRanksGetTheSameBits) {
  const CollectivesWorld& world = GetParam();
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int rank) {
      for (const std::size_t count : {37, 40001}) {
        const Bytes values = sample_elements(DataType::float32, Sample::any, count, rank, 9);
        const Tensors tensors(*world.memory, DataType::float32, {count}, Place::in_place, values);
        ASSERT_TRUE(
            finish(collectives.allreduce({.slices = tensors.slices(), .deadline = patience()})).is_ok());
        // The least and the greatest of each byte over the ranks are the same only if all are.
        const Bytes mine = tensors.outputs();
        for (const ReduceOp op : {ReduceOp::min, ReduceOp::max}) {
          const Tensors bytes(*world.memory, DataType::uint8, {mine.size()}, Place::in_place, mine);
          ASSERT_TRUE(
              finish(
                  collectives.allreduce(
                      {.slices = bytes.slices(), .dtype = DataType::uint8, .op = op, .deadline = patience()}))
                  .is_ok());
          ASSERT_EQ(bytes.outputs() == mine, true)
              << "rank " << rank << " of " << n << ", " << count << " elements";
        }
      }
    });
  }
}

TEST_P(CollectivesSuite, BroadcastFromEveryRoot) {
  const CollectivesWorld& world = GetParam();
  const std::vector<std::vector<std::size_t>> shapes{
      {1}, {}, {0, 5, 0, 1001, 0}, split(30000, 13), {std::size_t{100000}}};
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int rank) {
      const Member member{world, collectives, rank, n};
      std::uint64_t seed = 0;
      for (int root = 0; root < n; ++root) {
        for (const auto& counts : shapes) {
          ++seed;
          for (const DataType dtype : {DataType::float32, DataType::uint8}) {
            if (!collectives.supports(OpKind::broadcast, dtype, ReduceOp::sum)) continue;
            const Batch batch{counts, dtype, ReduceOp::sum, 1.0, kPlaces[seed % 2], seed};
            ASSERT_NO_FATAL_FAILURE(check_broadcast(member, root, batch));
          }
        }
      }
    });
  }
}

TEST_P(CollectivesSuite, NobodyLeavesABarrierBeforeAllHaveEntered) {
  const CollectivesWorld& world = GetParam();
  for (const int n : world.sizes) {
    std::atomic<int> entered = 0;
    world.run(n, [&](Collectives& collectives, int rank) {
      for (int round = 1; round <= 50; ++round) {
        if ((round + rank) % 7 == 0) std::this_thread::yield();
        ++entered;
        const Status status = collectives.barrier(patience());
        ASSERT_TRUE(status.is_ok()) << status.message();
        if (!world.ranks_are_threads) continue;
        ASSERT_GE(entered.load(), n * round);
      }
    });
  }
}

}  // namespace

std::shared_ptr<SuiteMemory> host_suite_memory() { return std::make_shared<HostSuiteMemory>(); }

}  // namespace hvd
