// Communication hooks and the compression that is made of them.
#include "tests/torch/hooks.h"
#include "tests/torch/models.h"
#include "tests/torch/optimizers.h"

namespace hvd {
namespace {

constexpr std::size_t kManyBuckets = 100;  // bytes: 6 × 8 float64 do not fit, 8 of them do

// The average with two operations.
PendingTensor in_two_steps(GradientBucket& bucket, BucketCollective& collective) {
  const auto copy = bucket.values * 2;
  collective.allreduce_(copy).wait();
  PendingTensor sum = collective.allreduce_(bucket.values, {.op = Sum});
  return sum.then([copy, n = collective.size()](const torch::Tensor& s) { return 2 * s / n - copy / 2; });
}

torch::nn::Sequential trained_alone(int steps) {
  auto network = make_network();
  const auto optimizer = make_optimizer("SGD", network->parameters());
  for (int step = 0; step < steps; ++step) {
    optimizer->zero_grad();
    loss_of(network, inputs_of(step), targets_of(step)).backward();
    optimizer->step();
  }
  return network;
}

class Hook : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Hook, testing::Values(1, 2, 3));

TEST_P(Hook, ThatAveragesTrainsAsOneProcess) {
  const auto expected = trained_alone(5)->parameters();
  on_ranks(GetParam(), [&](const ContextPointer& context) {
    for (const CommunicationHook& hook :
         {CommunicationHook(plain), CommunicationHook(waiting), CommunicationHook(in_two_steps)}) {
      for (const std::size_t bytes : {kManyBuckets, std::size_t{1} << 20U}) {
        auto network = make_network();
        DistributedOptimizer optimizer(
            make_optimizer("SGD", network->parameters()), network->named_parameters(),
            {.context = context, .communication_hook = hook, .bucket_bytes = bytes});
        train(*context, network, optimizer, 5);
        expect_close(network->parameters(), expected, 1e-10);
      }
    }
  });
}

struct Seen {
  std::size_t index;
  std::vector<std::string> names;
  bool is_last;
  std::int64_t count;
  friend bool operator==(const Seen&, const Seen&) = default;
};

TEST_P(Hook, GetsTheSameBucketsInTheSameOrderOnEveryRank) {
  const int n = GetParam();
  on_ranks(n, [n](const ContextPointer& context) {
    auto network = make_network();
    const auto p = network->parameters();
    std::vector<Seen> seen;
    const CommunicationHook hook = [&seen](GradientBucket& bucket, BucketCollective& collective) {
      seen.push_back({bucket.index, bucket.names, bucket.is_last, bucket.values.numel()});
      return plain(bucket, collective);
    };
    const auto seen_with = [&](DistributedOptimizerOptions options) {
      seen.clear();
      options.context = context;
      options.communication_hook = hook;
      DistributedOptimizer optimizer(make_optimizer("SGD", p), network->named_parameters(), options);
      train(*context, network, optimizer, 1);
      return seen;
    };
    if (n == 1) {
      EXPECT_TRUE(seen_with({}).empty()) << "nothing to communicate";
      return;
    }
    EXPECT_EQ(seen_with({}),
              (std::vector<Seen>{{0, {"2.bias", "2.weight", "0.bias", "0.weight"}, true, 3 + 24 + 8 + 48}}));
    EXPECT_EQ(seen_with({.bucket_bytes = 256}), (std::vector<Seen>{{0, {"2.bias", "2.weight"}, false, 27},
                                                                   {1, {"0.bias"}, false, 8},
                                                                   {2, {"0.weight"}, true, 48}}));
    EXPECT_EQ(
        seen_with({.groups = {{p[0], p[1]}}}),
        (std::vector<Seen>{{0, {"2.bias", "2.weight"}, false, 27}, {1, {"0.weight", "0.bias"}, true, 56}}));
  });
}

// Hooks that wait would wait for ever if buckets were started in another order, or left out, on some rank.
TEST_P(Hook, IsCalledForAllBucketsThoughRanksUseDifferentParameters) {
  const int n = GetParam();
  on_ranks(n, [n](const ContextPointer& context) {
    torch::nn::Module model;
    const auto a = model.register_parameter("a", numbers({3}, 0));
    const auto b = model.register_parameter("b", numbers({2, 2}, 1));
    const auto unused = model.register_parameter("unused", numbers({2}, 2));
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(),
                                   {.context = context, .communication_hook = waiting, .bucket_bytes = 1});
    for (int step = 0; step < 3; ++step) {
      optimizer.zero_grad();
      const bool is_mine = context->rank() == n - 1;
      (is_mine ? 6 * b.sum() : a.sum()).backward();
      EXPECT_EQ(a.grad().defined(), n > 1);
      if (n > 1) {
        EXPECT_TRUE(torch::allclose(a.grad(), torch::full_like(a, (n - 1.0) / n)));
      }
      EXPECT_TRUE(torch::allclose(b.grad(), torch::full_like(b, 6.0 / n)));
      EXPECT_FALSE(unused.grad().defined());
      optimizer.step();
      // A step without a backward takes part as well.
      optimizer.zero_grad();
      if (is_mine) a.sum().backward();
      optimizer.step();
      EXPECT_TRUE(torch::allclose(a.grad(), torch::full_like(a, 1.0 / n)));
      EXPECT_FALSE(b.grad().defined());
    }
  });
}

TEST_P(Hook, WorksWithAccumulationAndFactors) {
  const int n = GetParam();
  on_ranks(n, [n](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(),
                                   {.context = context,
                                    .backward_passes_per_step = 2,
                                    .average_aggregated_gradients = true,
                                    .gradient_predivide_factor = 4,
                                    .communication_hook = plain});
    for (int step = 0; step < 2; ++step) {
      optimizer.zero_grad();
      (model.b * (1.0 + context->rank())).sum().backward();
      (model.a * (1.0 + context->rank())).sum().backward();
      for (const auto& parameter : model.parameters()) {
        EXPECT_TRUE(torch::allclose(parameter.grad(), torch::full_like(parameter, (n + 1) / 4.0)));
      }
      optimizer.step();
    }
  });
}

// --- compression ---

bool fits(const torch::Tensor& values, torch::Dtype type) {
  return torch::equal(values, values.to(type).to(values.scalar_type()));
}

class Cast : public testing::TestWithParam<std::tuple<torch::Dtype, torch::Dtype>> {};
INSTANTIATE_TEST_SUITE_P(Types, Cast,
                         testing::Combine(testing::Values(torch::kFloat32, torch::kFloat64),
                                          testing::Values(torch::kHalf, torch::kBFloat16)));

// Only the ring has a wire.
TEST_P(Cast, IsDoneOnAWireOnly) {
  const auto [type, wire_type] = GetParam();
  const auto compression = wire_type == torch::kHalf ? Compression::fp16 : Compression::bf16;
  for (const auto backend : {InprocWorld::Backend::ring, InprocWorld::Backend::shm}) {
    on_ranks(
        3,
        [&, type = type, wire_type = wire_type](const ContextPointer& context) {
          auto network = make_network();
          network->to(type);
          const bool is_ring = backend == InprocWorld::Backend::ring;
          EXPECT_EQ(context->session().crosses_wire(DeviceType::cpu), is_ring);
          DistributedOptimizer optimizer(make_optimizer("SGD", network->parameters()),
                                         network->named_parameters(),
                                         {.context = context, .compression = compression});
          loss_of(network, part(inputs_of(0), *context).to(type), part(targets_of(0), *context).to(type))
              .backward();
          auto alone = make_network();
          alone->to(type);
          loss_of(alone, inputs_of(0).to(type), targets_of(0).to(type)).backward();
          const double tolerance = is_ring ? (wire_type == torch::kHalf ? 3e-3 : 3e-2) : 1e-6;
          for (std::size_t i = 0; i < alone->parameters().size(); ++i) {
            const auto gradient = network->parameters()[i].grad();
            EXPECT_EQ(gradient.scalar_type(), type);
            EXPECT_EQ(fits(gradient, wire_type), is_ring) << gradient;
            EXPECT_TRUE(torch::allclose(gradient, alone->parameters()[i].grad(), tolerance, tolerance));
          }
        },
        true, backend);
  }
}

TEST(Compression, LeavesOtherTypesAlone) {
  on_ranks(
      2,
      [](const ContextPointer& context) {
        torch::nn::Module model;
        const auto half = model.register_parameter("half", torch::ones({3}, torch::kHalf));
        const auto full = model.register_parameter("full", torch::ones({3}, torch::kFloat32));
        torch::optim::SGD sgd(model.parameters(), 0.1);
        DistributedOptimizer optimizer(sgd, model.named_parameters(),
                                       {.context = context, .compression = Compression::bf16});
        // 1 + 2^-10 fits into float16, not into bfloat16.
        const double value = 1.0 + 1.0 / 1024;
        ((half.to(torch::kFloat32) + full) * value).sum().backward();
        EXPECT_TRUE(torch::equal(half.grad(), torch::full({3}, value, torch::kHalf)));
        EXPECT_TRUE(torch::equal(full.grad(), torch::ones({3})));
      },
      true, InprocWorld::Backend::ring);
}

// 60000 + 60000 does not fit into float16.
TEST(Compression, PredivideKeepsLargeSumsFromOverflowing) {
  on_ranks(
      2,
      [](const ContextPointer& context) {
        TwoWeights model;
        torch::optim::SGD sgd(model.parameters(), 0.1);
        DistributedOptimizer optimizer(sgd, model.named_parameters(),
                                       {.op = Average,
                                        .context = context,
                                        .gradient_predivide_factor = 2,
                                        .compression = Compression::fp16});
        (model.a * 60000).sum().backward();
        EXPECT_TRUE(torch::allclose(model.a.grad(), torch::full_like(model.a, 60000.0), 1e-3))
            << model.a.grad();
      },
      true, InprocWorld::Backend::ring);
}

}  // namespace
}  // namespace hvd
