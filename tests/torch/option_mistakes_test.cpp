// What happens when options of DistributedOptimizer are wrong, or a pass or a communication hook fails.
#include <limits>

#include "tests/torch/hooks.h"
#include "tests/torch/models.h"
#include "tests/torch/optimizers.h"

namespace hvd {
namespace {

TEST(WrongOptions, AreToldWithWhatWasExpectedAndWhatCame) {
  on_ranks(2, [](const ContextPointer& context) {
    TwoWeights model;
    TwoWeights other;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const CommunicationHook hook = fp16_compression;
    const std::vector<std::pair<std::string, DistributedOptimizerOptions>> wrong{
        {"op: expected Average or Sum, got max", {.op = Max, .context = context}},
        {"backward_passes_per_step: expected 1 or more, got 0",
         {.context = context, .backward_passes_per_step = 0}},
        {"gradient_predivide_factor: expected a finite number above 0, got 0",
         {.context = context, .gradient_predivide_factor = 0}},
        {"gradient_predivide_factor: expected 1 with an op other than Average",
         {.op = Sum, .context = context, .gradient_predivide_factor = 2}},
        {"compression: expected none with a communication_hook",
         {.context = context, .compression = Compression::bf16, .communication_hook = hook}},
        {"bucket_bytes: expected 1 or more, got 0", {.context = context, .bucket_bytes = 0}},
        {"num_groups: expected 0 (none) or more, got -1", {.context = context, .num_groups = -1}},
        {"num_groups: expected at most the number of parameters, got 3 for 2 parameters",
         {.context = context, .num_groups = 3}},
        {"num_groups: expected 0 with groups", {.context = context, .groups = {{model.a}}, .num_groups = 1}},
        {"groups: expected at least one parameter in each group", {.context = context, .groups = {{}}}},
        {"as member 1 of group 0", {.context = context, .groups = {{model.a, model.a}}}},
        {"as member 0 of group 1", {.context = context, .groups = {{model.a}, {other.a}}}},
        {"clip_norm: expected 0 (off) or more, got -1", {.context = context, .clip_norm = -1}},
        {"clip_norm: expected 0 (off) or more, got nan", {.context = context, .clip_norm = nan}},
    };
    for (const auto& [expected, options] : wrong) {
      const std::string told = message_of<std::invalid_argument>(
          [&, &o = options] { const DistributedOptimizer optimizer(sgd, model.named_parameters(), o); });
      const std::string start = "rank " + std::to_string(context->rank()) + ", DistributedOptimizer: option ";
      EXPECT_TRUE(told.starts_with(start)) << told;
      EXPECT_NE(told.find(expected), std::string::npos) << told;
    }
  });
}

TEST(WrongOptions, ThatDifferAreToldOnEveryRank) {
  on_ranks(3, [](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    const bool odd = context->rank() == 1;
    const auto mine = [&](auto set) {
      DistributedOptimizerOptions options{.context = context};
      set(options);
      return options;
    };
    using Set = DistributedOptimizerOptions&;
    const std::vector<std::pair<std::string, DistributedOptimizerOptions>> differing{
        {"op: the lowest is average, the highest sum", mine([&](Set o) { o.op = odd ? Sum : Average; })},
        {"backward_passes_per_step: the lowest is 1, the highest 2",
         mine([&](Set o) { o.backward_passes_per_step = odd ? 2 : 1; })},
        {"average_aggregated_gradients: the lowest is no, the highest yes",
         mine([&](Set o) { o.average_aggregated_gradients = odd; })},
        {"compression: the lowest is none, the highest bf16",
         mine([&](Set o) { o.compression = odd ? Compression::bf16 : Compression::none; })},
        {"communication_hook: the lowest is no, the highest yes", mine([&](Set o) {
           if (odd) o.communication_hook = fp16_compression;
         })},
        {"groups or num_groups", mine([&](Set o) { o.num_groups = odd ? 1 : 2; })},
        {"clip_norm: the lowest is 0, the highest 1", mine([&](Set o) { o.clip_norm = odd ? 1 : 0; })},
    };
    for (const auto& [expected, options] : differing) {
      const std::string told = message_of<MismatchError>(
          [&, &o = options] { const DistributedOptimizer optimizer(sgd, model.named_parameters(), o); });
      EXPECT_NE(told.find("ranks differ in the option " + expected), std::string::npos) << told;
    }
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    model.a.sum().backward();
    EXPECT_NO_THROW(optimizer.step()) << "the session is still usable";
  });
}

struct Breaking : torch::autograd::Function<Breaking> {
  static torch::Tensor forward(torch::autograd::AutogradContext*, const torch::Tensor& input) {
    return input.clone();
  }
  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext*,
                                               const torch::autograd::tensor_list&) {
    throw std::runtime_error("this layer is broken");
  }
};

// After a gradient of a has been added on rank 0 only.
TEST(AccumulationMistakes, ALocalBackwardThatThrowsDropsTheStepOnAllRanks) {
  on_ranks(3, [](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(),
                                   {.context = context, .backward_passes_per_step = 2});
    const auto before = model.a.detach().clone();
    if (context->rank() == 0) {
      // b's gradient is complete before the broken layer, which is the last thing of forward on the way to a.
      const auto broken = Breaking::apply(model.a);
      EXPECT_THROW((torch::cat({broken, model.b.view(-1)}) * 2).sum().backward(), std::runtime_error);
      EXPECT_NO_THROW((model.a.sum() + model.b.sum()).backward());
    } else {
      (model.a.sum() + model.b.sum()).backward();
      EXPECT_THROW((model.a.sum() + model.b.sum()).backward(), StepDiscarded);
    }
    EXPECT_FALSE(optimizer.step().defined());
    EXPECT_TRUE(torch::equal(model.a, before)) << "the step was taken";
    optimizer.zero_grad();
    for (int pass = 0; pass < 2; ++pass) (model.a * (1.0 + context->rank())).sum().backward();
    EXPECT_TRUE(torch::allclose(model.a.grad(), torch::full_like(model.a, 4.0)));
    optimizer.step();
    EXPECT_FALSE(torch::equal(model.a, before));
  });
}

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

TEST(HookMistakes, ABackwardThatThrowsDropsTheStepOnAllRanks) {
  on_ranks(3, [](const ContextPointer& context) {
    for (const CommunicationHook& hook : {CommunicationHook(plain), CommunicationHook(waiting)}) {
      TwoWeights model;
      torch::optim::SGD sgd(model.parameters(), 0.1);
      DistributedOptimizer optimizer(sgd, model.named_parameters(),
                                     {.context = context, .communication_hook = hook, .bucket_bytes = 1});
      const auto before = model.a.detach().clone();
      if (context->rank() == 0) {
        const auto broken = Breaking::apply(model.a);
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
