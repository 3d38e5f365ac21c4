// What the NCCL collectives compute, on ranks as threads.
#include <algorithm>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/transport/inproc/inproc.h"
#include "tests/gpu/nccl_rank.h"
#include "tests/gpu/small_numbers.h"
#include "tests/harness/run_ranks.h"

namespace hvd {
namespace {

constexpr DataType kReducible[] = {
    DataType::uint8,   DataType::int8,        DataType::int32,       DataType::int64,   DataType::uint32,
    DataType::uint64,  DataType::float16,     DataType::float32,     DataType::float64, DataType::bfloat16,
    DataType::boolean, DataType::float8_e4m3, DataType::float8_e5m2,
};
constexpr ReduceOp kOps[] = {ReduceOp::sum, ReduceOp::min, ReduceOp::max, ReduceOp::product};

// 0, 1 or 2 (booleans: 0 or 1), so that every result for 4 ranks is exact in every type.
double input_value(DataType dtype, int rank, std::size_t slice, std::size_t i) {
  const std::size_t mixed = i * 31 + slice * 17 + static_cast<std::size_t>(rank) * 13;
  return static_cast<double>(mixed % 7 % (dtype == DataType::boolean ? 2 : 3));
}

double expected_value(DataType dtype, ReduceOp op, double scale, int size, std::size_t slice, std::size_t i) {
  double total = input_value(dtype, 0, slice, i);
  for (int rank = 1; rank < size; ++rank) {
    const double next = input_value(dtype, rank, slice, i);
    const bool is_or = dtype == DataType::boolean && op == ReduceOp::sum;
    if (op == ReduceOp::max || is_or)
      total = std::max(total, next);
    else if (op == ReduceOp::min)
      total = std::min(total, next);
    else
      total = op == ReduceOp::sum ? total + next : total * next;
  }
  return total * scale;
}

Bytes encode_all(std::size_t count, DataType dtype, const std::function<double(std::size_t)>& value) {
  Bytes out;
  for (std::size_t i = 0; i < count; ++i) {
    const Bytes one = encode_number(value(i), dtype);
    out.insert(out.end(), one.begin(), one.end());
  }
  return out;
}

void expect_reduction(NcclRank& rank, int index, int size, DataType dtype, ReduceOp op, double scale,
                      const std::vector<std::size_t>& counts, bool in_place) {
  std::vector<std::unique_ptr<DeviceMemory>> inputs;
  std::vector<std::unique_ptr<DeviceMemory>> outputs;
  std::vector<TensorSlice> slices;
  for (std::size_t s = 0; s < counts.size(); ++s) {
    inputs.push_back(rank.gpu.upload(
        encode_all(counts[s], dtype, [&](std::size_t i) { return input_value(dtype, index, s, i); })));
    outputs.push_back(rank.gpu.memory(counts[s] * size_in_bytes(dtype)));
    void* const output = in_place ? inputs.back()->data() : outputs.back()->data();
    slices.push_back({inputs.back()->data(), output, counts[s], nullptr});
  }
  const Status status = finish(rank.collectives->allreduce(
      {.slices = slices, .dtype = dtype, .op = op, .scale = scale, .deadline = soon()}));
  ASSERT_TRUE(status.is_ok()) << status.message();
  for (std::size_t s = 0; s < counts.size(); ++s) {
    EXPECT_EQ(rank.gpu.download(slices[s].output, counts[s] * size_in_bytes(dtype)),
              encode_all(counts[s], dtype,
                         [&](std::size_t i) { return expected_value(dtype, op, scale, size, s, i); }))
        << name_of(op) << " of " << name_of(dtype) << " times " << scale << ", slice " << s << ", rank "
        << index;
  }
}

class NcclResults : public testing::TestWithParam<int> {
 protected:
  void on_ranks(const std::function<void(NcclRank& rank, int index, int size)>& body) {
    const int size = GetParam();
    auto transports = make_inproc_transports(size);
    run_ranks(size, [&](RankScope& scope) {
      Transport& transport = *transports[static_cast<std::size_t>(scope.rank())];
      scope.guard(transport);
      NcclRank rank(transport);
      ASSERT_TRUE(rank);
      const auto guarded = scope.guard_local(*rank.collectives);
      body(rank, scope.rank(), size);
    });
  }
};
INSTANTIATE_TEST_SUITE_P(Ranks, NcclResults, testing::Values(1, 2, 4));

TEST_P(NcclResults, EveryTypeAndOperation) {
  on_ranks([](NcclRank& rank, int index, int size) {
    for (const DataType dtype : kReducible) {
      for (const ReduceOp op : kOps) {
        ASSERT_TRUE(rank.collectives->supports(OpKind::allreduce, dtype, op))
            << name_of(op) << " of " << name_of(dtype);
        expect_reduction(rank, index, size, dtype, op, 1.0, {17}, false);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  });
}

TEST_P(NcclResults, ScaledSumsOfFloatingTypes) {
  on_ranks([](NcclRank& rank, int index, int size) {
    for (const DataType dtype : kReducible) {
      if (!is_floating(dtype)) continue;
      for (const double scale : {0.5, 2.0, 0.25})
        expect_reduction(rank, index, size, dtype, ReduceOp::sum, scale, {9, 4}, true);
    }
  });
}

TEST_P(NcclResults, ManySlicesAlsoEmptyAndLong) {
  on_ranks([](NcclRank& rank, int index, int size) {
    std::vector<std::size_t> counts{0, 1, 0, 40'000, 3};
    for (std::size_t i = 0; i < 100; ++i) counts.push_back(i % 7);
    for (const bool in_place : {false, true}) {
      expect_reduction(rank, index, size, DataType::float32, ReduceOp::sum, 1.0, counts, in_place);
      expect_reduction(rank, index, size, DataType::float32, ReduceOp::sum, 0.5, counts, in_place);
    }
    expect_reduction(rank, index, size, DataType::float32, ReduceOp::sum, 1.0, {0, 0}, false);
    expect_reduction(rank, index, size, DataType::float32, ReduceOp::sum, 1.0, {}, false);
  });
}

// The average of three ranks in bfloat16 multiplies by 1/3 rounded to bfloat16:
// documented, and all ranks agree to the bit.
TEST_P(NcclResults, ScalesThatTheTypeCannotHoldAreRounded) {
  on_ranks([](NcclRank& rank, int, int size) {
    const float one = 1.0F;
    const auto memory = rank.gpu.upload(std::as_bytes(std::span(&one, 1)));
    const TensorSlice slice{memory->data(), memory->data(), 1, nullptr};
    const AllreduceRequest request{.slices = {&slice, 1}, .scale = 1.0 / 3, .deadline = soon()};
    ASSERT_TRUE(finish(rank.collectives->allreduce(request)).is_ok());
    float seen = 0;
    std::memcpy(&seen, rank.gpu.download(memory->data(), sizeof(seen)).data(), sizeof(seen));
    EXPECT_NEAR(seen, static_cast<float>(size) / 3, 1e-6F * static_cast<float>(size));
  });
}

TEST_P(NcclResults, BroadcastOfEveryTypeFromEachRoot) {
  on_ranks([](NcclRank& rank, int index, int size) {
    for (int code = 0; code < kDataTypeCount; ++code) {
      const auto dtype = static_cast<DataType>(code);
      ASSERT_TRUE(rank.collectives->supports(OpKind::broadcast, dtype, ReduceOp::sum));
      for (int root = 0; root < size; ++root) {
        const auto values_of = [&](int owner, std::size_t slice) {
          return encode_all(11 + slice, dtype,
                            [&](std::size_t i) { return input_value(dtype, owner, slice, i); });
        };
        const auto first = rank.gpu.upload(values_of(index, 0));
        const auto second = rank.gpu.upload(values_of(index, 1));
        const TensorSlice slices[] = {{first->data(), first->data(), 11, nullptr},
                                      {second->data(), second->data(), 12, nullptr}};
        const Status status = finish(rank.collectives->broadcast(
            {.slices = slices, .dtype = dtype, .root = root, .deadline = soon()}));
        ASSERT_TRUE(status.is_ok()) << status.message();
        EXPECT_EQ(rank.gpu.download(first->data(), first->size_in_bytes()), values_of(root, 0))
            << name_of(dtype);
        EXPECT_EQ(rank.gpu.download(second->data(), second->size_in_bytes()), values_of(root, 1))
            << name_of(dtype);
      }
    }
  });
}

TEST_P(NcclResults, BarrierWaitsForEveryRank) {
  std::atomic<int> arrived{0};
  on_ranks([&](NcclRank& rank, int, int size) {
    for (int round = 1; round <= 3; ++round) {
      arrived.fetch_add(1);
      ASSERT_TRUE(rank.collectives->barrier(soon()).is_ok());
      EXPECT_GE(arrived.load(), round * size);
      ASSERT_TRUE(rank.collectives->barrier(soon()).is_ok());
    }
  });
}

// What NCCL cannot do is refused by itself, alike on all ranks, and the next operation works.
TEST_P(NcclResults, RefusesWhatItCannotDoAndGoesOn) {
  on_ranks([](NcclRank& rank, int index, int size) {
    Collectives& nccl = *rank.collectives;
    const auto memory = rank.gpu.memory(64);
    const TensorSlice slice{memory->data(), memory->data(), 4, nullptr};
    const auto code = [&](DataType dtype, ReduceOp op, double scale) {
      return nccl
          .allreduce({.slices = {&slice, 1}, .dtype = dtype, .op = op, .scale = scale, .deadline = soon()})
          .status()
          .code();
    };
    EXPECT_FALSE(nccl.supports(OpKind::allreduce, DataType::int16, ReduceOp::sum));
    EXPECT_FALSE(nccl.supports(OpKind::allreduce, DataType::float32, ReduceOp::adasum));
    EXPECT_FALSE(nccl.supports(OpKind::reducescatter, DataType::uint16, ReduceOp::sum));
    EXPECT_EQ(code(DataType::int16, ReduceOp::sum, 1.0), StatusCode::unimplemented);
    EXPECT_EQ(code(DataType::int32, ReduceOp::sum, 0.5), StatusCode::unimplemented);
    EXPECT_EQ(code(DataType::float32, ReduceOp::max, 0.5), StatusCode::unimplemented);
    EXPECT_EQ(code(DataType::float8_e5m2, ReduceOp::sum, 1.0 / 3), StatusCode::unimplemented);
    EXPECT_EQ(nccl.broadcast({.slices = {&slice, 1}, .root = size, .deadline = soon()}).status().code(),
              StatusCode::invalid_argument);
    expect_reduction(rank, index, size, DataType::float32, ReduceOp::sum, 1.0, {5}, false);
  });
}

TEST_P(NcclResults, LeavesNothingBehind) {
  const auto before = standin_live_objects();
  if (!before) GTEST_SKIP() << "counts are the stand-in's";
  on_ranks([](NcclRank& rank, int index, int size) {
    expect_reduction(rank, index, size, DataType::float32, ReduceOp::sum, 0.5, {5, 6}, false);
  });
  EXPECT_EQ(standin_live_objects(), before);
}

}  // namespace
}  // namespace hvd
