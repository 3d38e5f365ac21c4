// Tensors of more than 2^31 elements, two ranks, every operation through the binding and the Session: sizes, splits and rows are 64 bits
// everywhere. Only a full run has them (HVD_TEST_ROUNDS=full, 10 GiB of memory); otherwise the same with 2^24.
#include <ATen/ops/empty.h>
#include <horovod_cpp/torch.h>
#include <torch/optim/sgd.h>

#include "tests/harness/huge.h"
#include "tests/torch/on_ranks.h"

namespace hvd {
namespace {

using Backend = InprocWorld::Backend;
using ContextPointer = std::shared_ptr<Context>;

constexpr std::size_t kRoom = std::size_t{10} << 30U;

at::Tensor bytes(std::int64_t count) { return at::empty({count}, c10::ScalarType::Byte); }

// What rank `rank` has from `begin` on.
at::Tensor values_of(std::int64_t begin, std::int64_t count, int rank) {
  at::Tensor tensor = bytes(count);
  auto* const out = tensor.mutable_data_ptr<std::uint8_t>();
  for (std::int64_t i = 0; i < count; ++i) out[i] = huge_value(static_cast<std::size_t>(begin + i), rank);
  return tensor;
}

// expected(i) for all i; where it does not hold is named once.
template <class Expected>
void expect_all(const at::Tensor& actual, std::int64_t count, const char* what, Expected&& expected) {
  ASSERT_EQ(actual.numel(), count) << what;
  const auto* const values = actual.const_data_ptr<std::uint8_t>();
  for (std::int64_t i = 0; i < count; ++i) {
    const auto wanted = static_cast<std::uint8_t>(expected(static_cast<std::size_t>(i)));
    if (values[i] == wanted) continue;
    FAIL() << what << ": element " << i << " of " << count << " is " << int{values[i]} << ", expected "
           << int{wanted};
  }
}

std::uint8_t sum_at(std::size_t i) { return static_cast<std::uint8_t>(huge_value(i, 0) + huge_value(i, 1)); }

// One case an operation, so that only its own tensors are in memory.
class HugeTensors : public testing::TestWithParam<Backend> {
 protected:
  void run(const std::function<void(const ContextPointer&)>& body) const {
    on_ranks(2, body, true, GetParam());
  }
  const std::int64_t count_ = static_cast<std::int64_t>(huge_count(has_room_for(kRoom)));
};
INSTANTIATE_TEST_SUITE_P(Through, HugeTensors, testing::Values(Backend::shm, Backend::ring),
                         [](const auto& info) { return info.param == Backend::shm ? "shm" : "ring"; });

TEST_P(HugeTensors, AllreduceInPlace) {
  run([n = count_](const ContextPointer& context) {
    const at::Tensor tensor = values_of(0, n, context->rank());
    allreduce_(tensor, {.op = Sum, .context = context});
    expect_all(tensor, n, "sum", sum_at);
    // Of two equal tensors: the same again, but where twice the value has wrapped.
    allreduce_(tensor, {.op = Average, .context = context});
    expect_all(tensor, n, "average",
               [](std::size_t i) { return static_cast<std::uint8_t>(2 * sum_at(i)) / 2; });
  });
}

TEST_P(HugeTensors, GroupedWithASmallOne) {
  run([n = count_](const ContextPointer& context) {
    const at::Tensor tensor = values_of(0, n, context->rank());
    const at::Tensor small = values_of(7, 3, context->rank());
    grouped_allreduce_({small, tensor}, {.op = Max, .context = context});
    const auto larger = [](std::size_t i) { return std::max(huge_value(i, 0), huge_value(i, 1)); };
    expect_all(tensor, n, "max", larger);
    expect_all(small, 3, "max of the small one", [&](std::size_t i) { return larger(i + 7); });
  });
}

TEST_P(HugeTensors, BroadcastOfAStridedOne) {
  run([n = count_](const ContextPointer& context) {
    const at::Tensor memory = values_of(0, n, context->rank());
    const at::Tensor columns = memory.narrow(0, 0, n / 2 * 2).view({2, n / 2}).t();  // copied to be sent
    broadcast_(columns, 1, {.context = context});
    expect_all(memory, n, "broadcast", [&](std::size_t i) {
      return huge_value(i, i < static_cast<std::size_t>(n) / 2 * 2 ? 1 : context->rank());
    });
  });
}

// Most of the rows come from one rank: more of them than 2^31.
TEST_P(HugeTensors, Allgather) {
  run([n = count_](const ContextPointer& context) {
    const bool is_first = context->rank() == 0;
    Handle handle =
        allgather_async(is_first ? values_of(0, n - 3, 0) : values_of(n - 3, 3, 0), {.context = context});
    expect_all(handle.wait(), n, "allgather", [](std::size_t i) { return huge_value(i, 0); });
    EXPECT_EQ(handle.rows_from_ranks(), (std::vector<std::int64_t>{n - 3, 3}));
  });
}

// Two that are smaller, and a result that is not; rows of two elements.
TEST_P(HugeTensors, AllgatherOfHalves) {
  run([n = count_](const ContextPointer& context) {
    const std::int64_t rows = n / 4 + 1;
    const auto mine = values_of(0, 2 * rows, context->rank()).view({rows, 2});
    const at::Tensor all = allgather(mine, {.context = context});
    EXPECT_EQ(all.sizes(), (c10::IntArrayRef{2 * rows, 2}));
    expect_all(all, 4 * rows, "allgather", [&](std::size_t i) {
      const auto half = static_cast<std::size_t>(2 * rows);
      return i < half ? huge_value(i, 0) : huge_value(i - half, 1);
    });
  });
}

TEST_P(HugeTensors, Alltoall) {
  run([n = count_](const ContextPointer& context) {
    const bool is_first = context->rank() == 0;
    // Rank 0 keeps 5 rows and gives the rest; rank 1 gives 5 and keeps none.
    const std::vector<std::int64_t> splits =
        is_first ? std::vector<std::int64_t>{5, n} : std::vector<std::int64_t>{5, 0};
    const auto [tensor, counts] =
        alltoall(values_of(0, is_first ? n + 5 : 5, context->rank()), splits, {.context = context});
    EXPECT_EQ(counts, is_first ? (std::vector<std::int64_t>{5, 5}) : (std::vector<std::int64_t>{n, 0}));
    expect_all(tensor, is_first ? 10 : n, "alltoall", [&](std::size_t i) {
      if (is_first) return huge_value(i % 5, i < 5 ? 0 : 1);
      return huge_value(i + 5, 0);
    });
  });
}

TEST_P(HugeTensors, Reducescatter) {
  run([n = count_](const ContextPointer& context) {
    const at::Tensor part = reducescatter(values_of(0, n, context->rank()), {.op = Sum, .context = context});
    const std::int64_t first = n - n / 2;  // rows of rank 0
    const std::int64_t begin = context->rank() == 0 ? 0 : first;
    expect_all(part, context->rank() == 0 ? first : n - first, "reducescatter",
               [&](std::size_t i) { return sum_at(i + static_cast<std::size_t>(begin)); });
  });
}

// The state crosses as one archive: two thirds of 2^30 parameters of Adam are as many bytes.
TEST(HugeState, OfAnOptimizer) {
  const auto n = static_cast<std::int64_t>(huge_count(has_room_for(kRoom)));
  on_ranks(2, [n](const ContextPointer& context) {
    const at::Tensor weight = at::empty({1});
    torch::optim::SGD sgd({weight}, torch::optim::SGDOptions(0.1).momentum(0.9));
    if (context->rank() == 1) {
      auto state = std::make_unique<torch::optim::SGDParamState>();
      state->momentum_buffer(values_of(0, n, 1));
      sgd.state()[weight.unsafeGetTensorImpl()] = std::move(state);
    }
    broadcast_optimizer_state(sgd, 1, {.context = context});
    ASSERT_EQ(sgd.state().size(), 1u);
    const auto& state =
        static_cast<const torch::optim::SGDParamState&>(*sgd.state()[weight.unsafeGetTensorImpl()]);
    expect_all(state.momentum_buffer(), n, "momentum", [](std::size_t i) { return huge_value(i, 1); });
  });
}

}  // namespace
}  // namespace hvd
