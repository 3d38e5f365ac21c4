// collectives_suite.h over MPI, and what it does not ask for:
// lengths around this implementation's windows, what it refuses.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include "tests/conformance/collectives_suite.h"
#include "tests/conformance/mpi_world.h"

namespace hvd {
namespace {

// Small whole numbers: every order of adding or multiplying them is exact.
double value_of(DataType dtype, int rank, std::size_t slice, std::size_t i) {
  const std::size_t hash = (i * 31 + slice * 17 + static_cast<std::size_t>(rank) * 13) % 5;
  if (dtype == DataType::boolean) return hash < 2 ? 1 : 0;
  return static_cast<double>(hash % 3);
}

double combine(DataType dtype, ReduceOp op, double a, double b) {
  if (dtype == DataType::boolean)
    return op == ReduceOp::sum || op == ReduceOp::max ? std::max(a, b) : std::min(a, b);
  switch (op) {
    case ReduceOp::sum:
      return a + b;
    case ReduceOp::min:
      return std::min(a, b);
    case ReduceOp::max:
      return std::max(a, b);
    default:
      return a * b;
  }
}

// Element i of `memory`.
template <class T>
void put_as(void* memory, std::size_t i, double value) {
  static_cast<T*>(memory)[i] = static_cast<T>(value);
}
template <class T>
double get_as(const void* memory, std::size_t i) {
  return static_cast<double>(static_cast<const T*>(memory)[i]);
}
struct Access {
  DataType dtype;
  void (*put)(void*, std::size_t, double);
  double (*get)(const void*, std::size_t);
};
template <class T>
constexpr Access access_as(DataType dtype) {
  return {dtype, put_as<T>, get_as<T>};
}
constexpr Access kTypes[] = {
    access_as<std::uint8_t>(DataType::uint8),   access_as<std::int8_t>(DataType::int8),
    access_as<std::uint16_t>(DataType::uint16), access_as<std::int16_t>(DataType::int16),
    access_as<std::uint32_t>(DataType::uint32), access_as<std::int32_t>(DataType::int32),
    access_as<std::uint64_t>(DataType::uint64), access_as<std::int64_t>(DataType::int64),
    access_as<float>(DataType::float32),        access_as<double>(DataType::float64),
    access_as<std::uint8_t>(DataType::boolean)};
constexpr ReduceOp kOps[] = {ReduceOp::sum, ReduceOp::min, ReduceOp::max, ReduceOp::product};

// The memory of a batch. Outputs start as garbage unless they are the inputs.
struct Batch {
  std::vector<Bytes> inputs;
  std::vector<Bytes> outputs;
  std::vector<TensorSlice> slices;

  Batch(std::span<const std::size_t> counts, std::size_t element_bytes, bool in_place) {
    for (const std::size_t count : counts) {
      inputs.emplace_back(count * element_bytes);
      outputs.emplace_back(in_place ? 0 : count * element_bytes, std::byte{0xa5});
    }
    for (std::size_t s = 0; s < counts.size(); ++s) {
      slices.push_back({inputs[s].data(), in_place ? inputs[s].data() : outputs[s].data(), counts[s]});
    }
  }
  // Everything that came out, in one piece.
  Bytes results(std::size_t element_bytes) const {
    Bytes all;
    for (const auto& slice : slices) {
      const auto* first = static_cast<const std::byte*>(slice.output);
      all.insert(all.end(), first, first + slice.count * element_bytes);
    }
    return all;
  }
};

class MpiCollectives : public testing::Test {
 protected:
  Collectives& collectives = *mpi_world().collectives;
  Transport& transport = *mpi_world().transport;
  const int rank = mpi_world().rank();
  const int size = mpi_world().size();

  void expect_same_on_all_ranks(const Bytes& mine) {
    std::vector<Bytes> all;
    ASSERT_TRUE(transport.all_gather(mine, all, case_deadline()).is_ok());
    for (const auto& theirs : all) ASSERT_EQ(theirs, mine);
  }

  void check_allreduce(const Access& type, ReduceOp op, std::span<const std::size_t> counts, bool in_place,
                       double scale) {
    const std::size_t element_bytes = size_in_bytes(type.dtype);
    Batch batch(counts, element_bytes, in_place);
    for (std::size_t s = 0; s < counts.size(); ++s) {
      for (std::size_t i = 0; i < counts[s]; ++i)
        type.put(batch.inputs[s].data(), i, value_of(type.dtype, rank, s, i));
    }
    const std::vector<Bytes> inputs_before = batch.inputs;
    const auto done = collectives.allreduce(
        {.slices = batch.slices, .dtype = type.dtype, .op = op, .scale = scale, .deadline = case_deadline()});
    ASSERT_TRUE(done.is_ok()) << done.status().message();
    ASSERT_EQ(done.value(), nullptr);
    if (!in_place) {
      ASSERT_EQ(batch.inputs, inputs_before) << "inputs were changed";
    }
    for (std::size_t s = 0; s < counts.size(); ++s) {
      for (std::size_t i = 0; i < counts[s]; ++i) {
        double expected = value_of(type.dtype, 0, s, i);
        for (int r = 1; r < size; ++r)
          expected = combine(type.dtype, op, expected, value_of(type.dtype, r, s, i));
        ASSERT_EQ(type.get(batch.slices[s].output, i), expected * scale)
            << name_of(type.dtype) << " " << name_of(op) << ", slice " << s << " of " << counts.size()
            << ", element " << i;
      }
    }
    expect_same_on_all_ranks(batch.results(element_bytes));
  }
};

using Counts = std::vector<std::size_t>;

TEST_F(MpiCollectives, ReducesEveryTypeAndOperation) {
  const std::vector<Counts> batches{{1}, {0}, {}, {2, 0, 3}, {1, 1, 1, 1000, 0, 7}};
  for (const Access& type : kTypes) {
    for (const ReduceOp op : kOps) {
      ASSERT_TRUE(collectives.supports(OpKind::allreduce, type.dtype, op));
      for (const Counts& counts : batches) {
        for (const bool in_place : {true, false})
          ASSERT_NO_FATAL_FAILURE(check_allreduce(type, op, counts, in_place, 1.0));
      }
    }
  }
}

// Batches around the lengths where the implementation changes from packing to reducing in place.
TEST_F(MpiCollectives, ReducesLargeBatches) {
  const Access& f32 = access_as<float>(DataType::float32);
  const std::size_t window = (std::size_t{512} << 10) * static_cast<std::size_t>(size) / sizeof(float);
  const std::vector<Counts> batches{{window},
                                    {window + 1},
                                    {5, window - 1, 5},
                                    {5, window, 5, 0},
                                    {3 * window},
                                    {10, 3 * window + 7, 1},
                                    {window / 2, window / 2, window / 2, 0}};
  for (const Counts& counts : batches) {
    for (const bool in_place : {true, false}) {
      ASSERT_NO_FATAL_FAILURE(check_allreduce(f32, ReduceOp::sum, counts, in_place, 0.5));
    }
  }
}

TEST_F(MpiCollectives, ScalesFloats) {
  for (const Access& type : {access_as<float>(DataType::float32), access_as<double>(DataType::float64)}) {
    ASSERT_NO_FATAL_FAILURE(check_allreduce(type, ReduceOp::sum, Counts{3, 0, 1001}, true, 0.25));
    ASSERT_NO_FATAL_FAILURE(check_allreduce(type, ReduceOp::max, Counts{3, 0, 1001}, false, -2.0));
  }
}

TEST_F(MpiCollectives, RanksAgreeOnNanAndZeros) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  for (const ReduceOp op : {ReduceOp::min, ReduceOp::max}) {
    std::vector<float> values{rank == 0 ? nan : 1.0F, rank == size - 1 ? nan : 1.0F, rank == 0 ? -0.0F : 0.0F,
                              rank == 0 ? 0.0F : -0.0F};
    const TensorSlice slice{values.data(), values.data(), values.size()};
    const auto done = collectives.allreduce(
        {.slices = std::span(&slice, 1), .dtype = DataType::float32, .op = op, .deadline = case_deadline()});
    ASSERT_TRUE(done.is_ok());
    EXPECT_TRUE(std::isnan(values[0]));
    EXPECT_TRUE(std::isnan(values[1]));
    const auto bytes = std::as_bytes(std::span(values));
    expect_same_on_all_ranks(Bytes(bytes.begin(), bytes.end()));
  }
}

// Sums whose rounding depends on the order: whatever the order, all ranks must have the same bits.
TEST_F(MpiCollectives, RanksAgreeOnRounding) {
  for (const std::size_t count : {std::size_t{1}, std::size_t{1000}, std::size_t{700'001}}) {
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i)
      values[i] = std::sin(static_cast<float>(i + 1) * static_cast<float>(rank + 1)) * 1e3F;
    const TensorSlice slice{values.data(), values.data(), count};
    const auto done = collectives.allreduce(
        {.slices = std::span(&slice, 1), .scale = 1.0 / 3, .deadline = case_deadline()});
    ASSERT_TRUE(done.is_ok());
    const auto bytes = std::as_bytes(std::span(values));
    expect_same_on_all_ranks(Bytes(bytes.begin(), bytes.end()));
  }
}

// 256 + 1 − 256 over ranks: rounded to bfloat16 on the way, the 1 is lost in most orders.
TEST_F(MpiCollectives, NarrowFloatsAreRoundedOnceAtTheEnd) {
  if (size < 3) GTEST_SKIP() << "one addition rounds once";
  // bfloat16: the upper half of a float32.
  const float values[] = {256.0F, 1.0F, -256.0F};
  const float mine = rank < 3 ? values[rank] : 0.0F;
  std::uint32_t bits = 0;
  std::memcpy(&bits, &mine, sizeof(bits));
  std::vector<std::uint16_t> elements(1001, static_cast<std::uint16_t>(bits >> 16));
  const TensorSlice slice{elements.data(), elements.data(), elements.size()};
  const auto done = collectives.allreduce(
      {.slices = std::span(&slice, 1), .dtype = DataType::bfloat16, .deadline = case_deadline()});
  ASSERT_TRUE(done.is_ok()) << done.status().message();
  for (const std::uint16_t element : elements) ASSERT_EQ(element, 0x3f80);  // 1
}

TEST_F(MpiCollectives, RefusesWhatIsNoReductionAndGoesOn) {
  EXPECT_FALSE(collectives.supports(OpKind::allreduce, DataType::float32, ReduceOp::adasum));
  EXPECT_FALSE(collectives.supports(OpKind::reducescatter, DataType::float32, ReduceOp::average));
  float value = 0;
  const TensorSlice slice{&value, &value, 1};
  const auto done = collectives.allreduce(
      {.slices = std::span(&slice, 1), .op = ReduceOp::adasum, .deadline = case_deadline()});
  ASSERT_FALSE(done.is_ok());
  EXPECT_EQ(done.status().code(), StatusCode::unimplemented);
  EXPECT_NE(done.status().message().find("adasum"), std::string::npos);
  EXPECT_TRUE(collectives.barrier(case_deadline()).is_ok());
}

TEST_F(MpiCollectives, BroadcastsFromEveryRoot) {
  const std::vector<Counts> batches{{1}, {0}, {3, 0, 1000}, {5, 2'000'000, 5}, {1'100'000}};
  for (int root = 0; root < size; ++root) {
    for (const Counts& counts : batches) {
      for (const bool in_place : {true, false}) {
        Batch batch(counts, 2, in_place);
        Batch expected(counts, 2, true);
        for (std::size_t s = 0; s < counts.size(); ++s) {
          for (std::size_t i = 0; i < batch.inputs[s].size(); ++i) {
            const auto seed = i * 7 + s;
            batch.inputs[s][i] = static_cast<std::byte>(seed + static_cast<std::size_t>(rank) * 101);
            expected.inputs[s][i] = static_cast<std::byte>(seed + static_cast<std::size_t>(root) * 101);
          }
        }
        const auto done = collectives.broadcast(
            {.slices = batch.slices, .dtype = DataType::bfloat16, .root = root, .deadline = case_deadline()});
        ASSERT_TRUE(done.is_ok()) << done.status().message();
        ASSERT_EQ(batch.results(2), expected.results(2)) << "root " << root;
      }
    }
  }
}

// The ranks of this test share a host, and so a clock.
TEST_F(MpiCollectives, NobodyLeavesABarrierBeforeTheLastHasCome) {
  using Clock = std::chrono::steady_clock;
  for (int round = 0; round < 12; ++round) {
    if (round % size == rank) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const Clock::time_point times[2] = {Clock::now(), [&] {
                                          EXPECT_TRUE(collectives.barrier(case_deadline()).is_ok());
                                          return Clock::now();
                                        }()};
    std::vector<Bytes> all;
    ASSERT_TRUE(transport.all_gather(std::as_bytes(std::span(times)), all, case_deadline()).is_ok());
    for (const Bytes& theirs : all) {
      Clock::time_point entered_and_left[2];
      ASSERT_EQ(theirs.size(), sizeof(entered_and_left));
      std::memcpy(entered_and_left, theirs.data(), sizeof(entered_and_left));
      ASSERT_LE(entered_and_left[0], times[1]) << "round " << round;
    }
  }
}

// Called when gtest starts, with the world open.
CollectivesWorld mpi_collectives_world() {
  CollectivesWorld world;
  world.name = "mpi";
  world.sizes = {mpi_world().size()};
  world.run = [](int, const std::function<void(Collectives&, int)>& body) {
    body(*mpi_world().collectives, mpi_world().rank());
    // Nobody begins the next case before all have ended this one: a failure is then seen where it happened.
    const Status together = mpi_world().collectives->barrier(case_deadline());
    ASSERT_TRUE(together.is_ok()) << together.message();
  };
  world.ranks_are_threads = false;
  world.in_rank_order = false;
  world.takes_huge_counts = true;
  world.may_break = false;  // mpi_failure_cases.cpp
  return world;
}

INSTANTIATE_TEST_SUITE_P(Mpi, CollectivesSuite, testing::Values(mpi_collectives_world()), name_of_world);

}  // namespace
}  // namespace hvd
