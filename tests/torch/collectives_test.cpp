#include <horovod_cpp/torch.h>
#include <torch/torch.h>

#include "tests/torch/on_ranks.h"

namespace hvd {
namespace {

const std::vector<torch::Dtype> kIntegers{torch::kUInt8, torch::kInt8, torch::kInt16, torch::kInt32,
                                          torch::kInt64};
const std::vector<torch::Dtype> kFloats{torch::kFloat32, torch::kFloat64, torch::kFloat16, torch::kBFloat16};

std::vector<torch::Dtype> number_types() {
  auto all = kIntegers;
  all.insert(all.end(), kFloats.begin(), kFloats.end());
  return all;
}

// Ways to lie in memory. Each is given values of any shape and returns a tensor with these values.
struct Arrangement {
  const char* name;
  torch::Tensor (*arrange)(const torch::Tensor& values);
};
const std::vector<Arrangement> kArrangements{
    {"contiguous", [](const torch::Tensor& t) { return t.clone(); }},
    {"every second element",
     [](const torch::Tensor& t) {
       auto wide = torch::zeros({t.numel() * 2}, t.options()).slice(0, 0, t.numel() * 2, 2).view(t.sizes());
       return wide.copy_(t);
     }},
    {"transposed", [](const torch::Tensor& t) {
       return t.dim() < 2 ? t.clone() : t.transpose(0, 1).contiguous().transpose(0, 1);
     }}};

// Small enough for the sum of 4 ranks to be exact in every type.
torch::Tensor values_of(int rank, torch::IntArrayRef shape, torch::Dtype dtype) {
  const auto count = std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
  return ((torch::arange(count) % 7) + rank).view(shape).to(dtype);
}

class Collectives : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Collectives, testing::Values(1, 2, 3, 4));

TEST_P(Collectives, SumOfEveryTypeAndArrangement) {
  const int n = GetParam();
  on_ranks(n, [n](const std::shared_ptr<Context>& context) {
    for (const auto dtype : number_types()) {
      for (const auto& [name, arrange] : kArrangements) {
        SCOPED_TRACE(std::string(c10::toString(dtype)) + ", " + name);
        const auto input = arrange(values_of(context->rank(), {3, 5}, dtype));
        const auto before = input.clone();
        auto expected = torch::zeros({3, 5}, dtype);
        for (int r = 0; r < n; ++r) expected += values_of(r, {3, 5}, dtype);

        const auto sum = allreduce(input, {.op = Sum, .context = context});
        EXPECT_TRUE(torch::equal(sum, expected)) << sum;
        EXPECT_TRUE(torch::equal(input, before)) << "the input was changed";
        const auto same = allreduce_(input, {.op = Sum, .context = context});
        EXPECT_TRUE(torch::equal(input, expected)) << input;
        EXPECT_TRUE(same.is_same(input));
      }
    }
  });
}

TEST_P(Collectives, AverageDividesIntegersTowardsZero) {
  const int n = GetParam();
  on_ranks(n, [n](const std::shared_ptr<Context>& context) {
    for (const auto dtype : {torch::kInt8, torch::kInt32, torch::kInt64}) {
      const auto input = torch::tensor({-5, 5, 7}, dtype) + context->rank();
      auto sum = torch::zeros({3}, torch::kInt64);
      for (int r = 0; r < n; ++r) sum += torch::tensor({-5, 5, 7}, torch::kInt64) + r;
      const auto average = allreduce(input, {.context = context});
      EXPECT_TRUE(torch::equal(average.to(torch::kInt64), torch::div(sum, n, "trunc"))) << average;
    }
    for (const auto dtype : {torch::kUInt16, torch::kUInt32, torch::kUInt64}) {
      const auto average = allreduce(torch::tensor({9, 1}, torch::kInt64).to(dtype), {.context = context});
      EXPECT_TRUE(torch::equal(average.to(torch::kInt64), torch::tensor({9, 1}, torch::kInt64)));
    }
    const auto mean = allreduce(torch::full({2}, context->rank(), torch::kFloat64), {.context = context});
    EXPECT_TRUE(torch::equal(mean, torch::full({2}, (n - 1) / 2.0, torch::kFloat64))) << mean;
  });
}

TEST_P(Collectives, MinMaxProductAndScaling) {
  const int n = GetParam();
  on_ranks(n, [n](const std::shared_ptr<Context>& context) {
    const auto mine = torch::tensor({1.0 + context->rank(), -1.0 - context->rank()}, torch::kFloat64);
    EXPECT_TRUE(torch::equal(allreduce(mine, {.op = Min, .context = context}),
                             torch::tensor({1.0, double(-n)}, torch::kFloat64)));
    EXPECT_TRUE(torch::equal(allreduce(mine, {.op = Max, .context = context}),
                             torch::tensor({double(n), -1.0}, torch::kFloat64)));
    const double factorial = std::tgamma(n + 1.0);
    EXPECT_TRUE(
        torch::allclose(allreduce(mine, {.op = Product, .context = context}),
                        torch::tensor({factorial, n % 2 == 0 ? factorial : -factorial}, torch::kFloat64)));
    const auto scaled = allreduce(mine, {.op = Sum, .prescale = 0.5, .postscale = 4.0, .context = context});
    EXPECT_TRUE(torch::equal(scaled, torch::tensor({1.0, -1.0}, torch::kFloat64) * (n * (n + 1.0))));
    const auto any = allreduce(torch::tensor({context->rank() == 0, false}), {.op = Max, .context = context});
    EXPECT_TRUE(torch::equal(any, torch::tensor({true, false})));
  });
}

TEST_P(Collectives, ZeroDimensionsAndNoElements) {
  on_ranks(GetParam(), [](const std::shared_ptr<Context>& context) {
    const auto one = allreduce(torch::tensor(1.0), {.op = Sum, .context = context});
    EXPECT_EQ(one.dim(), 0);
    EXPECT_EQ(one.item<double>(), context->size());
    const auto none = allreduce(torch::empty({0, 3}), {.context = context});
    EXPECT_EQ(none.sizes(), torch::IntArrayRef({0, 3}));
    EXPECT_EQ(broadcast_(torch::empty({2, 0}), 0, {.context = context}).numel(), 0);
  });
}

TEST_P(Collectives, BroadcastOfEveryTypeArrangementAndRoot) {
  const int n = GetParam();
  on_ranks(n, [n](const std::shared_ptr<Context>& context) {
    auto dtypes = number_types();
    dtypes.insert(dtypes.end(), {torch::kBool, torch::kUInt16, torch::kFloat8_e4m3fn, torch::kFloat8_e5m2});
    for (const auto dtype : dtypes) {
      for (const auto& [name, arrange] : kArrangements) {
        for (int root = 0; root < n; ++root) {
          SCOPED_TRACE(std::string(c10::toString(dtype)) + ", " + name);
          const auto input = arrange(values_of(context->rank(), {4, 3}, dtype));
          const auto before = input.to(torch::kFloat64);
          const auto expected = values_of(root, {4, 3}, dtype).to(torch::kFloat64);
          EXPECT_TRUE(
              torch::equal(broadcast(input, root, {.context = context}).to(torch::kFloat64), expected));
          EXPECT_TRUE(torch::equal(input.to(torch::kFloat64), before)) << "the input was changed";
          broadcast_(input, root, {.context = context});
          EXPECT_TRUE(torch::equal(input.to(torch::kFloat64), expected));
        }
      }
    }
  });
}

TEST_P(Collectives, ManyAtOnceInAnyOrderByName) {
  const int n = GetParam();
  on_ranks(n, [n](const std::shared_ptr<Context>& context) {
    constexpr int kCount = 20;
    std::vector<Handle> handles;
    for (int i = 0; i < kCount; ++i) {
      const int k = (i * 7 + context->rank() * 3) % kCount;  // another order on each rank
      handles.push_back(
          allreduce_async(torch::full({k + 1}, k, torch::kFloat32),
                          {.name = "tensor " + std::to_string(k), .op = Sum, .context = context}));
    }
    for (int i = 0; i < kCount; ++i) {
      const int k = (i * 7 + context->rank() * 3) % kCount;
      const auto sum = handles[static_cast<std::size_t>(i)].wait();
      EXPECT_TRUE(handles[static_cast<std::size_t>(i)].done());
      EXPECT_TRUE(torch::equal(sum, torch::full({k + 1}, k * n, torch::kFloat32)));
    }
  });
}

TEST_P(Collectives, UnnamedOnesInTheSameOrder) {
  const int n = GetParam();
  on_ranks(n, [n](const std::shared_ptr<Context>& context) {
    for (int repetition = 0; repetition < 3; ++repetition) {
      auto a = allreduce_async(torch::full({2}, 1.0), {.op = Sum, .context = context});
      auto b = allreduce_async(torch::full({5}, 2.0), {.op = Sum, .context = context});
      EXPECT_TRUE(torch::equal(b.wait(), torch::full({5}, 2.0 * n)));
      EXPECT_TRUE(torch::equal(a.wait(), torch::full({2}, 1.0 * n)));
    }
  });
}

TEST_P(Collectives, GradientsAreNotFollowed) {
  on_ranks(GetParam(), [](const std::shared_ptr<Context>& context) {
    auto weight = torch::ones({3}, torch::requires_grad());
    const auto product = weight * 2;
    EXPECT_FALSE(allreduce(product, {.context = context}).requires_grad());
    EXPECT_FALSE(allreduce(weight, {.context = context}).requires_grad());
    allreduce_(weight, {.op = Sum, .context = context});
    EXPECT_TRUE(weight.requires_grad());
    EXPECT_TRUE(weight.is_leaf());
    // What a backward has saved must not change behind its back.
    auto saved = torch::ones({3}, torch::requires_grad()) * 1.0;
    const auto square = (saved * saved).sum();
    allreduce_(saved, {.op = Sum, .context = context});
    EXPECT_THROW(square.backward(), c10::Error);
  });
}

TEST_P(Collectives, CallersBugsAreToldAtTheCall) {
  on_ranks(GetParam(), [](const std::shared_ptr<Context>& context) {
    const auto reduce = [&](const torch::Tensor& t) { allreduce(t, {.op = Sum, .context = context}); };
    EXPECT_THROW(reduce(torch::Tensor()), std::invalid_argument);
    EXPECT_THROW(reduce(torch::ones({2}, torch::kComplexFloat)), std::invalid_argument);
    EXPECT_THROW(reduce(torch::ones({2, 2}).to_sparse()), std::invalid_argument);
    EXPECT_THROW(reduce(torch::ones({2}, torch::kMeta)), std::invalid_argument);
    EXPECT_THROW(allreduce_(torch::ones({1}).expand({4}), {.context = context}), std::invalid_argument);
    EXPECT_THROW(allreduce(torch::tensor({true}), {.context = context}), std::invalid_argument);
    EXPECT_THROW(allreduce(torch::tensor({1}), {.prescale = 0.5, .context = context}), std::invalid_argument);
    EXPECT_THROW(broadcast(torch::ones({1}), context->size(), {.context = context}), std::invalid_argument);
    EXPECT_THROW(broadcast(torch::ones({1}), -1, {.context = context}), std::invalid_argument);
    // Nothing was sent: the ranks still agree.
    EXPECT_EQ(allreduce(torch::ones({1}), {.op = Sum, .context = context}).item<float>(), context->size());
  });
}

TEST(Disagreement, IsToldOnEveryRankAndTrainingGoesOn) {
  on_ranks(3, [](const std::shared_ptr<Context>& context) {
    const auto shape_message = [&] {
      try {
        allreduce(torch::ones({context->rank() == 1 ? 3 : 2}), {.name = "odd", .context = context});
      } catch (const MismatchError& error) {
        return std::string(error.what());
      }
      return std::string("nothing was thrown");
    }();
    EXPECT_NE(shape_message.find("odd"), std::string::npos) << shape_message;
    EXPECT_NE(shape_message.find("[3]"), std::string::npos) << shape_message;
    EXPECT_THROW(allreduce(torch::ones({2}), {.op = context->rank() == 0 ? Sum : Max, .context = context}),
                 MismatchError);
    EXPECT_THROW(allreduce(torch::ones({2}, context->rank() == 0 ? torch::kFloat32 : torch::kFloat64),
                           {.context = context}),
                 MismatchError);
    EXPECT_THROW(broadcast(torch::ones({2}), context->rank() == 2 ? 1 : 0, {.context = context}),
                 MismatchError);
    EXPECT_EQ(allreduce(torch::ones({1}), {.op = Sum, .context = context}).item<float>(), 3);
  });
}

TEST(AsyncFailure, IsToldByTheWaitEvenIfItCameBeforeTheCall) {
  on_ranks(
      2,
      [](const std::shared_ptr<Context>& context) {
        context->session().abort(Status::aborted("the test ends it"));
        Handle handle = allreduce_async(torch::ones({2}), {.context = context});
        EXPECT_THROW(handle.wait(), WorldError);
        EXPECT_THROW(handle.wait(), WorldError) << "again";
      },
      false);
}

TEST(Parameters, EverybodyGetsParametersAndBuffersOfTheRoot) {
  std::vector<torch::nn::Sequential> models;
  for (int i = 0; i < 3; ++i) {
    models.emplace_back(torch::nn::Linear(4, 3), torch::nn::BatchNorm1d(3), torch::nn::Linear(3, 2));
    models.back()->forward(torch::randn({5, 4}) + i);  // running statistics that differ
  }
  on_ranks(3, [&](const std::shared_ptr<Context>& context) {
    const auto rank = static_cast<std::size_t>(context->rank());
    broadcast_parameters(*models[rank], 2, {.context = context});
  });
  for (int i = 0; i < 2; ++i) {
    const auto& mine = models[static_cast<std::size_t>(i)];
    for (const auto& item : models[2]->named_parameters()) {
      EXPECT_TRUE(torch::equal(mine->named_parameters()[item.key()], item.value())) << item.key();
    }
    for (const auto& item : models[2]->named_buffers()) {
      EXPECT_TRUE(torch::equal(mine->named_buffers()[item.key()], item.value())) << item.key();
    }
  }
}

}  // namespace
}  // namespace hvd
