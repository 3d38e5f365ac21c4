// allgather, alltoall, reducescatter, groups, process sets, barrier and join on torch::Tensor.
#include <gtest/gtest.h>
#include <horovod_cpp/torch.h>
#include <torch/torch.h>

#include <numeric>

#include "tests/torch/on_ranks.h"

namespace hvd {
namespace {

const std::vector<torch::Dtype> kTypes{torch::kUInt8,   torch::kInt8,    torch::kInt16,    torch::kInt32,
                                       torch::kInt64,   torch::kFloat16, torch::kBFloat16, torch::kFloat32,
                                       torch::kFloat64, torch::kBool};

// rows × 2 values that tell the rank.
torch::Tensor rows_of(int rank, std::int64_t rows, torch::Dtype dtype) {
  return torch::full({rows, 2}, rank, torch::kInt64).to(dtype);
}

torch::Tensor transposed(const torch::Tensor& tensor) { return tensor.t().contiguous().t(); }

class Operations : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Operations, testing::Values(1, 2, 3, 4));

TEST_P(Operations, AllgatherOfEveryType) {
  const int n = GetParam();
  on_ranks(n, [n](const std::shared_ptr<Context>& context) {
    for (const auto dtype : kTypes) {
      std::vector<torch::Tensor> parts;
      for (int r = 0; r < n; ++r) parts.push_back(rows_of(r, r, dtype));  // rank 0 has none
      const auto mine = parts[static_cast<std::size_t>(context->rank())];
      EXPECT_TRUE(torch::equal(allgather(mine, {.context = context}), torch::cat(parts)));
      Handle handle = allgather_async(transposed(mine), {.name = "strided", .context = context});
      EXPECT_TRUE(torch::equal(handle.wait(), torch::cat(parts)));
      std::vector<std::int64_t> counts(static_cast<std::size_t>(n));
      std::iota(counts.begin(), counts.end(), 0);
      EXPECT_EQ(handle.rows_from_ranks(), counts);
    }
    const auto scalars = allgather(torch::tensor(1.5) + context->rank(), {.context = context});
    EXPECT_TRUE(torch::equal(scalars, torch::arange(n) + 1.5F)) << scalars;
    EXPECT_EQ(allgather(torch::empty({0, 3}), {.context = context}).sizes(), (torch::IntArrayRef{0, 3}));
  });
}

TEST_P(Operations, AlltoallWithSplitsAndWithout) {
  const int n = GetParam();
  on_ranks(n, [n](const std::shared_ptr<Context>& context) {
    const int me = context->rank();
    for (const auto dtype : kTypes) {
      // Rank a sends a + b rows to rank b.
      std::vector<std::int64_t> splits;
      std::vector<torch::Tensor> expected;
      std::vector<std::int64_t> received;
      for (int other = 0; other < n; ++other) {
        splits.push_back(me + other);
        received.push_back(me + other);
        expected.push_back(rows_of(other, me + other, dtype));
      }
      const auto sum = std::accumulate(splits.begin(), splits.end(), std::int64_t{0});
      const auto result = alltoall(transposed(rows_of(me, sum, dtype)), splits, {.context = context});
      EXPECT_TRUE(torch::equal(result.tensor, torch::cat(expected)));
      EXPECT_EQ(result.received_splits, received);
    }
    const auto even = alltoall(torch::full({2 * n}, me), {}, {.context = context}).tensor;
    EXPECT_TRUE(torch::equal(even, torch::arange(n).repeat_interleave(2).to(even.dtype()))) << even;
    EXPECT_THROW(alltoall(torch::ones({n}), std::vector<std::int64_t>(static_cast<std::size_t>(n), 2),
                          {.context = context}),
                 std::invalid_argument);
    if (n > 1) {
      EXPECT_THROW(alltoall(torch::ones({n + 1}), {}, {.context = context}), std::invalid_argument);
    }
    EXPECT_EQ(alltoall(torch::empty({0, 3}), {}, {.context = context}).tensor.sizes(),
              (torch::IntArrayRef{0, 3}));
  });
}

TEST_P(Operations, ReducescatterIsAPartOfTheAllreduce) {
  const int n = GetParam();
  on_ranks(n, [n](const std::shared_ptr<Context>& context) {
    const std::int64_t rows = 2 * n + 1;
    for (const auto dtype : kTypes) {
      for (const auto op : {Sum, Average, Min, Max, Product}) {
        if (dtype == torch::kBool && op == Average) continue;
        const auto input = (torch::arange(rows * 3).view({rows, 3}) % 3 + context->rank()).to(dtype);
        const auto whole = allreduce(input, {.op = op, .context = context});
        const auto first = context->rank() * 2 + std::min(context->rank(), 1);
        const auto part = reducescatter(transposed(input), {.op = op, .context = context});
        EXPECT_TRUE(torch::equal(part, whole.slice(0, first, first + (context->rank() == 0 ? 3 : 2))))
            << c10::toString(dtype) << ' ' << name_of(op);
      }
    }
    const auto scaled =
        reducescatter(torch::ones({n}), {.op = Sum, .prescale = 0.5, .postscale = 4.0, .context = context});
    EXPECT_TRUE(torch::equal(scaled, torch::full({1}, 2.0F * static_cast<float>(n))));
    EXPECT_THROW(reducescatter(torch::tensor(1.0), {.context = context}), std::invalid_argument);
    EXPECT_EQ(reducescatter(torch::empty({0, 3}), {.context = context}).sizes(), (torch::IntArrayRef{0, 3}));
  });
}

TEST_P(Operations, GroupsOfMixedTensors) {
  const int n = GetParam();
  on_ranks(n, [n](const std::shared_ptr<Context>& context) {
    const auto rank = context->rank();
    const auto tensors = [&] {
      return std::vector<torch::Tensor>{torch::full({3}, rank, torch::kFloat64), torch::tensor(rank),
                                        transposed(torch::full({2, 3}, rank, torch::kFloat32)),
                                        torch::empty({0})};
    };
    const double sum = n * (n - 1) / 2.0;
    for (const auto& result : grouped_allreduce(tensors(), {.op = Sum, .context = context})) {
      EXPECT_TRUE((result.to(torch::kFloat64) == sum).all().item<bool>()) << result;
    }
    auto in_place = tensors();
    Handles handles = grouped_allreduce_async_(in_place, {.name = "named", .op = Sum, .context = context});
    EXPECT_EQ(wait_all(handles).size(), 4U);
    for (const auto& tensor : in_place) EXPECT_TRUE((tensor.to(torch::kFloat64) == sum).all().item<bool>());
    const auto gathered = grouped_allgather(tensors(), {.context = context});
    EXPECT_EQ(gathered[0].size(0), 3 * n);
    EXPECT_EQ(gathered[1].size(0), n);
    const auto scattered =
        grouped_reducescatter({torch::ones({n, 2}), torch::ones({2 * n})}, {.op = Sum, .context = context});
    EXPECT_TRUE(torch::equal(scattered[1], torch::full({2}, static_cast<float>(n))));
    EXPECT_TRUE(grouped_allreduce({}, {.context = context}).empty());
    barrier({.context = context});
  });
}

TEST(OperationErrors, OneWrongTensorEndsItsGroupOnEveryRank) {
  on_ranks(2, [](const std::shared_ptr<Context>& context) {
    const auto good = torch::ones({2});
    EXPECT_THROW(grouped_allreduce_({good, torch::ones({context->rank() + 1})}, {.context = context}),
                 MismatchError);
    EXPECT_TRUE(torch::equal(good, torch::ones({2})));
    EXPECT_THROW(grouped_allreduce({good, torch::ones({2}, torch::kBool)}, {.context = context}),
                 std::invalid_argument);
    EXPECT_THROW(allgather(torch::ones({2, context->rank() + 1}), {.context = context}), MismatchError);
    EXPECT_TRUE(torch::equal(allreduce(good, {.op = Sum, .context = context}), torch::full({2}, 2.0F)));
  });
}

TEST(ProcessSets, TwoPairsAndTheirLeaders) {
  on_ranks(4, [](const std::shared_ptr<Context>& context) {
    const int rank = context->rank();
    const ProcessSet low = add_process_set({0, 1}, context);
    const ProcessSet high = add_process_set({3, 2}, context);
    const ProcessSet leaders = add_process_set({0, 2}, context);
    EXPECT_EQ(high.ranks(), (std::vector<int>{2, 3}));
    const ProcessSet& mine = rank < 2 ? low : high;
    EXPECT_EQ(mine.rank(), rank % 2);
    EXPECT_EQ(mine.size(), 2);
    EXPECT_EQ(leaders.includes_me(), rank % 2 == 0);

    const auto value = torch::full({3}, rank, torch::kFloat64);
    const auto mean = allreduce(value, {.process_set = mine, .context = context});
    EXPECT_TRUE(torch::equal(mean, torch::full({3}, rank < 2 ? 0.5 : 2.5, torch::kFloat64))) << mean;
    EXPECT_TRUE(torch::equal(allgather(value, {.process_set = mine, .context = context}),
                             torch::tensor(rank < 2 ? std::vector<double>{0, 0, 0, 1, 1, 1}
                                                    : std::vector<double>{2, 2, 2, 3, 3, 3},
                                           torch::kFloat64)));
    EXPECT_EQ(
        broadcast(value, mine.ranks().back(), {.process_set = mine, .context = context})[0].item<double>(),
        rank < 2 ? 1.0 : 3.0);
    EXPECT_EQ(alltoall(value.slice(0, 0, 2), {}, {.process_set = mine, .context = context}).tensor.size(0),
              2);
    EXPECT_EQ(reducescatter(value, {.process_set = mine, .context = context}).size(0), 2 - rank % 2);
    // Integers are divided by the number of members.
    EXPECT_EQ(allreduce(torch::tensor({rank}), {.process_set = mine, .context = context}).item<int>(),
              rank < 2 ? 0 : 2);
    barrier({.process_set = mine, .context = context});
    if (leaders.includes_me()) {
      EXPECT_EQ(allreduce(torch::tensor({rank}), {.op = Sum, .process_set = leaders, .context = context})
                    .item<int>(),
                2);
    } else {
      EXPECT_THROW(allreduce(value, {.process_set = leaders, .context = context}), std::invalid_argument);
    }
    remove_process_set(leaders, context);
    EXPECT_THROW(leaders.ranks(), std::invalid_argument);
    EXPECT_THROW(allreduce(value, {.process_set = leaders, .context = context}), std::invalid_argument);
    EXPECT_THROW(add_process_set({0, 4}, context), std::invalid_argument);
    EXPECT_THROW(add_process_set({}, context), std::invalid_argument);
  });
}

TEST(Handles, DoNotKeepASessionAliveOnceTheyAreGone) {
  InprocWorld world(2);
  run_ranks(2, [&](RankScope& scope) {
    auto context = std::make_shared<Context>(value_or_throw(Session::create(world.parts(scope.rank()))));
    const std::weak_ptr<Context> watched = context;
    // The other rank does not submit these.
    const auto rank = std::to_string(scope.rank());
    static_cast<void>(allreduce_async(torch::ones({2}), {.name = "sum of " + rank, .context = context}));
    static_cast<void>(allgather_async(torch::ones({2}), {.name = "rows of " + rank, .context = context}));
    context.reset();
    EXPECT_TRUE(watched.expired());
  });
}

TEST(Join, TheLastRankIsNamed) {
  on_ranks(3, [](const std::shared_ptr<Context>& context) {
    for (int batch = 0; batch < context->rank(); ++batch) {
      const auto sum = allreduce(torch::ones({2}), {.op = Sum, .context = context});
      EXPECT_TRUE(torch::equal(sum, torch::full({2}, static_cast<float>(2 - batch)))) << sum;
    }
    EXPECT_EQ(join({.context = context}), 2);
    EXPECT_TRUE(
        torch::equal(allreduce(torch::ones({2}), {.op = Sum, .context = context}), torch::full({2}, 3.0F)));
  });
}

}  // namespace
}  // namespace hvd
