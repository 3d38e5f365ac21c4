#include "tests/conformance/collectives_suite.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <numeric>
#include <random>
#include <thread>

#include "horovod_cpp/base/text.h"
#include "tests/conformance/collectives_reference.h"
#include "tests/conformance/suite_tensors.h"
#include "tests/harness/seed.h"

namespace hvd {

// The suite may be linked into programs that instantiate only a part of it.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CollectivesSuite);

namespace {

using std::chrono::milliseconds;

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

struct Batch {
  std::vector<std::size_t> counts;
  DataType dtype = DataType::float32;
  ReduceOp op = ReduceOp::sum;
  double scale = 1.0;
  Place place = Place::out_of_place;
  std::uint64_t seed = 1;

  std::size_t count() const { return std::accumulate(counts.begin(), counts.end(), std::size_t{0}); }
};

std::string text_of(const Batch& batch) {
  return text(name_of(batch.dtype), " ", name_of(batch.op), " × ", batch.scale, ", ", batch.counts.size(),
              " slices, ", batch.count(), " elements, ",
              batch.place == Place::in_place ? "in place" : "out of place", ", seed ", batch.seed);
}

// Reduces and compares with the reference. What went wrong goes to the running case.
void check_allreduce(const CollectivesWorld& world, Collectives& collectives, int rank, int n,
                     const Batch& batch) {
  const Sample sample = world.in_rank_order ? Sample::any : Sample::whole;
  std::vector<Bytes> inputs;
  for (int r = 0; r < n; ++r)
    inputs.push_back(sample_elements(batch.dtype, sample, batch.count(), r, batch.seed));
  const Bytes& mine = inputs[static_cast<std::size_t>(rank)];
  const Tensors tensors(*world.memory, batch.dtype, batch.counts, batch.place, mine);
  const Status status = finish(collectives.allreduce({.slices = tensors.slices(),
                                                      .dtype = batch.dtype,
                                                      .op = batch.op,
                                                      .scale = batch.scale,
                                                      .deadline = patience()}));
  ASSERT_TRUE(status.is_ok()) << status.message();
  const Bytes expected = reference_allreduce(inputs, batch.dtype, batch.op, batch.scale);
  const Bytes actual = tensors.outputs();
  if (actual != expected) {
    const auto where = std::mismatch(actual.begin(), actual.end(), expected.begin()).first - actual.begin();
    FAIL() << text_of(batch) << ": differs from the reference first at byte " << where;
  }
  if (batch.place == Place::in_place) return;
  ASSERT_EQ(tensors.inputs() == mine, true) << text_of(batch) << ": input changed";
}

void check_broadcast(const CollectivesWorld& world, Collectives& collectives, int rank, int root,
                     const Batch& batch) {
  const Bytes mine = sample_elements(batch.dtype, Sample::any, batch.count(), rank, batch.seed);
  const Bytes expected = sample_elements(batch.dtype, Sample::any, batch.count(), root, batch.seed);
  const Tensors tensors(*world.memory, batch.dtype, batch.counts, batch.place, mine);
  const Status status = finish(collectives.broadcast(
      {.slices = tensors.slices(), .dtype = batch.dtype, .root = root, .deadline = patience()}));
  ASSERT_TRUE(status.is_ok()) << status.message();
  ASSERT_EQ(tensors.outputs() == expected, true) << text_of(batch) << " from rank " << root;
  if (batch.place == Place::in_place) return;
  ASSERT_EQ(tensors.inputs() == mine, true) << text_of(batch) << ": input changed";
}

bool is_floating(DataType dtype) {
  switch (dtype) {
    case DataType::float16:
    case DataType::bfloat16:
    case DataType::float32:
    case DataType::float64:
    case DataType::float8_e4m3:
    case DataType::float8_e5m2:
      return true;
    default:
      return false;
  }
}

constexpr std::array kOps{ReduceOp::sum, ReduceOp::min, ReduceOp::max, ReduceOp::product};
constexpr std::array kPlaces{Place::in_place, Place::out_of_place};

// `count` elements in `slices` slices of nearly the same length.
std::vector<std::size_t> split(std::size_t count, std::size_t slices) {
  std::vector<std::size_t> counts;
  for (std::size_t i = 0; i < slices; ++i) counts.push_back(count * (i + 1) / slices - count * i / slices);
  return counts;
}

TEST_P(CollectivesSuite, AllreduceOfEveryTypeAndOperation) {
  const CollectivesWorld& world = GetParam();
  const std::vector<std::vector<std::size_t>> shapes{{1}, {2}, {3}, {0}, {}, {0, 1, 0, 1001, 3, 0}};
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int rank) {
      std::uint64_t seed = 0;
      for (int index = 0; index < kDataTypeCount; ++index) {
        const auto dtype = static_cast<DataType>(index);
        for (const ReduceOp op : kOps) {
          if (!collectives.supports(OpKind::allreduce, dtype, op)) continue;
          for (const auto& counts : shapes) {
            ++seed;
            const double scale = !is_floating(dtype) || seed % 3 == 0 ? 1.0
                                 : world.in_rank_order                ? 1.0 / 3
                                                                      : 0.5;
            const Place place = kPlaces[seed % 2];
            ASSERT_NO_FATAL_FAILURE(
                check_allreduce(world, collectives, rank, n, {counts, dtype, op, scale, place, seed}));
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
      const std::size_t count = (std::size_t{1} << 20) / static_cast<std::size_t>(n + 1) + 3;
      for (const Place place : kPlaces) {
        for (const std::size_t slices : {1, 161}) {
          const double scale = 1.0 / 8;
          const Batch batch{split(count, slices), DataType::float32, ReduceOp::sum, scale, place, slices};
          ASSERT_NO_FATAL_FAILURE(check_allreduce(world, collectives, rank, n, batch));
        }
      }
      const Batch longs{split(count / 2, 7), DataType::int64, ReduceOp::max, 1.0, Place::in_place, 5};
      ASSERT_NO_FATAL_FAILURE(check_allreduce(world, collectives, rank, n, longs));
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
      std::uint64_t seed = 0;
      for (int root = 0; root < n; ++root) {
        for (const auto& counts : shapes) {
          ++seed;
          for (const DataType dtype : {DataType::float32, DataType::uint8}) {
            if (!collectives.supports(OpKind::broadcast, dtype, ReduceOp::sum)) continue;
            const Batch batch{counts, dtype, ReduceOp::sum, 1.0, kPlaces[seed % 2], seed};
            ASSERT_NO_FATAL_FAILURE(check_broadcast(world, collectives, rank, root, batch));
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

// Operations of all kinds and sizes one after the other, with ranks that dawdle: whatever an operation leaves
// behind (a slot still read, a counter) meets every other.
TEST_P(CollectivesSuite, AnyOrderOfOperations) {
  const CollectivesWorld& world = GetParam();
  if (!world.ranks_are_threads) GTEST_SKIP() << "ranks as processes would draw different seeds";
  for_each_seed(2, 100, [&](std::uint64_t seed) {
    for (const int n : world.sizes) {
      world.run(n, [&](Collectives& collectives, int rank) {
        std::mt19937_64 plan(seed), own(seed + 1 + static_cast<std::uint64_t>(rank));
        for (int round = 0; round < 40; ++round) {
          const std::uint64_t kind = plan() % 8;
          const std::size_t count = plan() % (std::size_t{1} << (4 + plan() % 12));
          const int root = static_cast<int>(plan() % static_cast<std::uint64_t>(n));
          const Batch batch{split(count, 1 + plan() % 5),
                            DataType::float32,
                            ReduceOp::sum,
                            1.0,
                            kPlaces[plan() % 2],
                            plan()};
          if (own() % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(own() % 300));
          if (kind == 0) {
            ASSERT_TRUE(collectives.barrier(patience()).is_ok());
          } else if (kind <= 2) {
            ASSERT_NO_FATAL_FAILURE(check_broadcast(world, collectives, rank, root, batch));
          } else {
            ASSERT_NO_FATAL_FAILURE(check_allreduce(world, collectives, rank, n, batch));
          }
        }
      });
    }
  });
}

}  // namespace

std::shared_ptr<SuiteMemory> host_suite_memory() { return std::make_shared<HostSuiteMemory>(); }

}  // namespace hvd
