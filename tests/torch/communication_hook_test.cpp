// Communication hooks and the compression that is made of them.
#include "tests/torch/models.h"
#include "tests/torch/optimizers.h"

namespace hvd {
namespace {

constexpr std::size_t kManyBuckets = 100;  // bytes: 6 × 8 float64 do not fit, 8 of them do

PendingTensor plain(GradientBucket& bucket, BucketCollective& collective) {
  return collective.allreduce_(bucket.values);
}
PendingTensor waiting(GradientBucket& bucket, BucketCollective& collective) {
  return collective.allreduce_(bucket.values).wait();
}
// The average with two operations.
PendingTensor in_two_steps(GradientBucket& bucket, BucketCollective& collective) {
  const auto copy = bucket.values * 2;
  collective.allreduce_(copy).wait();
  PendingTensor sum = collective.allreduce_(bucket.values, {.op = Sum});
  return sum.then([copy, n = collective.size()](const torch::Tensor& s) { return 2 * s / n - copy / 2; });
}

void train(const Context& context, torch::nn::Sequential& network, DistributedOptimizer& optimizer,
           int steps) {
  for (int step = 0; step < steps; ++step) {
    optimizer.zero_grad();
    loss_of(network, part(inputs_of(step), context), part(targets_of(step), context)).backward();
    optimizer.step();
  }
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

// --- mistakes ---

PendingTensor throw_at_once(GradientBucket&, BucketCollective&) {
  throw std::runtime_error("the hook is broken");
}
PendingTensor throw_after_a_start(GradientBucket& bucket, BucketCollective& collective) {
  static_cast<void>(collective.allreduce_(bucket.values));
  throw std::runtime_error("the hook is broken");
}
PendingTensor throw_later(GradientBucket& bucket, BucketCollective& collective) {
  return plain(bucket, collective).then([](const torch::Tensor&) -> torch::Tensor {
    throw std::runtime_error("the hook is broken");
  });
}

class HookFailure : public testing::TestWithParam<std::tuple<int, std::size_t>> {};
INSTANTIATE_TEST_SUITE_P(KindAndBucket, HookFailure,
                         testing::Combine(testing::Values(0, 1, 2), testing::Values(0, 1, 2)));

TEST_P(HookFailure, OnOneRankDropsTheStepOnAllAndTrainingGoesOn) {
  const auto [kind, where] = GetParam();
  const CommunicationHook failing =
      std::vector<CommunicationHook>{throw_at_once, throw_after_a_start, throw_later}.at(
          static_cast<std::size_t>(kind));
  for (const CommunicationHook& usual : {CommunicationHook(plain), CommunicationHook(waiting)}) {
    on_ranks(3, [&, where = where](const ContextPointer& context) {
      auto network = make_network();
      bool breaks = false;
      const CommunicationHook hook = [&](GradientBucket& bucket, BucketCollective& collective) {
        return (breaks && bucket.index == where ? failing : usual)(bucket, collective);
      };
      DistributedOptimizer optimizer(make_optimizer("SGD", network->parameters()),
                                     network->named_parameters(),
                                     {.context = context, .communication_hook = hook, .bucket_bytes = 256});
      train(*context, network, optimizer, 1);
      for (int time = 0; time < 2; ++time) {
        const auto before = copies_of(network->parameters());
        breaks = context->rank() == 1;
        optimizer.zero_grad();
        const auto backward = [&] { loss_of(network, inputs_of(0), targets_of(0)).backward(); };
        if (breaks) {
          EXPECT_EQ(message_of<std::runtime_error>(backward), "the hook is broken");
        } else {
          EXPECT_THROW(backward(), StepDiscarded);
        }
        EXPECT_FALSE(optimizer.step().defined());
        expect_same_bits(network->parameters(), before, "the step was taken");
        breaks = false;
        train(*context, network, optimizer, 2);
        EXPECT_FALSE(torch::equal(network->parameters()[0], before[0]));
        const auto highest = allreduce(network->parameters()[0], {.op = Max, .context = context});
        EXPECT_TRUE(torch::equal(network->parameters()[0], highest)) << "ranks differ";
      }
    });
  }
}

struct BrokenLayer : torch::autograd::Function<BrokenLayer> {
  static torch::Tensor forward(torch::autograd::AutogradContext*, const torch::Tensor& input) {
    return input.clone();
  }
  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext*,
                                               const torch::autograd::tensor_list&) {
    throw std::runtime_error("this layer is broken");
  }
};

TEST_P(Hook, ABackwardThatThrowsDropsTheStepOnAllRanks) {
  if (GetParam() == 1) GTEST_SKIP() << "nothing to drop with one rank";
  on_ranks(GetParam(), [](const ContextPointer& context) {
    for (const CommunicationHook& hook : {CommunicationHook(plain), CommunicationHook(waiting)}) {
      TwoWeights model;
      torch::optim::SGD sgd(model.parameters(), 0.1);
      DistributedOptimizer optimizer(sgd, model.named_parameters(),
                                     {.context = context, .communication_hook = hook, .bucket_bytes = 1});
      const auto before = model.a.detach().clone();
      if (context->rank() == 0) {
        const auto broken = BrokenLayer::apply(model.a);
        EXPECT_THROW(torch::cat({broken, model.b.view(-1)}).sum().backward(), std::runtime_error);
      } else {
        EXPECT_THROW((model.a.sum() + model.b.sum()).backward(), StepDiscarded);
      }
      EXPECT_FALSE(optimizer.step().defined());
      EXPECT_TRUE(torch::equal(model.a, before));
      optimizer.zero_grad();
      (model.a * (1.0 + context->rank())).sum().backward();
      EXPECT_TRUE(torch::allclose(model.a.grad(), torch::full_like(model.a, (context->size() + 1) / 2.0)));
      optimizer.step();
    }
  });
}

TEST(HookMistakes, AreToldOnEveryRankAndTrainingGoesOn) {
  const auto wrong_length = [](GradientBucket& bucket, BucketCollective&) -> PendingTensor {
    return bucket.values.narrow(0, 0, 1);
  };
  const auto wrong_type = [](GradientBucket& bucket, BucketCollective&) -> PendingTensor {
    return bucket.values.to(torch::kFloat32);
  };
  const auto nothing = [](GradientBucket&, BucketCollective&) -> PendingTensor { return torch::Tensor(); };
  const auto too_many = [](GradientBucket& bucket, BucketCollective& collective) -> PendingTensor {
    for (int i = 0; i < 9; ++i) static_cast<void>(collective.allreduce_(bucket.values.clone()));
    return bucket.values;
  };
  const std::vector<std::pair<std::string, CommunicationHook>> mistakes{
      {"expected a result of 7 elements of Double on cpu, got 1 elements of Double", wrong_length},
      {"expected a result of 7 elements of Double on cpu, got 7 elements of Float", wrong_type},
      {"got an undefined tensor", nothing},
      {"may start 8 operations a bucket", too_many},
  };
  on_ranks(2, [&](const ContextPointer& context) {
    for (const auto& [expected, hook] : mistakes) {
      TwoWeights model;
      torch::optim::SGD sgd(model.parameters(), 0.1);
      bool is_wrong = true;
      const CommunicationHook chosen = [&, &wrong = hook](GradientBucket& bucket,
                                                          BucketCollective& collective) {
        return is_wrong ? wrong(bucket, collective) : plain(bucket, collective);
      };
      DistributedOptimizer optimizer(sgd, model.named_parameters(),
                                     {.context = context, .communication_hook = chosen});
      const auto backward = [&] { (model.a.sum() + model.b.sum()).backward(); };
      const std::string told = message_of<std::invalid_argument>(backward);
      EXPECT_NE(told.find(expected), std::string::npos) << told;
      optimizer.zero_grad();
      is_wrong = false;
      EXPECT_NO_THROW(backward());
      EXPECT_TRUE(torch::allclose(model.a.grad(), torch::ones_like(model.a)));
    }
  });
}

TEST(HookMistakes, OperationsThatDifferBetweenRanksAreAMismatchOnEveryRank) {
  on_ranks(3, [](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    bool is_wrong = true;
    const CommunicationHook hook = [&](GradientBucket& bucket,
                                       BucketCollective& collective) -> PendingTensor {
      if (is_wrong && collective.rank() == 2) return collective.allreduce_(bucket.values.to(torch::kFloat32));
      return collective.allreduce_(bucket.values);
    };
    DistributedOptimizer optimizer(sgd, model.named_parameters(),
                                   {.context = context, .communication_hook = hook});
    const auto backward = [&] { (model.a.sum() + model.b.sum()).backward(); };
    EXPECT_THROW(backward(), MismatchError);
    EXPECT_FALSE(optimizer.step().defined());
    is_wrong = false;
    optimizer.zero_grad();
    EXPECT_NO_THROW(backward());
    optimizer.step();
  });
}

TEST(HookMistakes, AFailedWorldIsAnErrorAndNotAHang) {
  on_ranks(
      2,
      [](const ContextPointer& context) {
        TwoWeights model;
        torch::optim::SGD sgd(model.parameters(), 0.1);
        DistributedOptimizer optimizer(sgd, model.named_parameters(),
                                       {.context = context, .communication_hook = waiting});
        if (context->rank() == 1) context->session().abort(Status::aborted("rank 1: its disk is on fire"));
        EXPECT_THROW(model.a.sum().backward(), WorldError);
        EXPECT_THROW(optimizer.step(), WorldError);
      },
      /*ends_well=*/false);
}

}  // namespace
}  // namespace hvd
