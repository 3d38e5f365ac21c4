// What DistributedOptimizer computes.
#include <thread>

#include "tests/torch/models.h"
#include "tests/torch/optimizers.h"

namespace hvd {
namespace {

class Training : public testing::TestWithParam<std::tuple<const char*, int>> {};
INSTANTIATE_TEST_SUITE_P(Optimizers, Training,
                         testing::Combine(testing::Values("SGD", "Adam", "AdamW"),
                                          testing::Values(1, 2, 3, 4)));

TEST_P(Training, IsThatOfOneProcessOnTheWholeBatch) {
  const std::string kind = std::get<0>(GetParam());
  const int n = std::get<1>(GetParam());
  constexpr int kSteps = 25;

  auto alone = make_network();
  const auto start = make_network()->parameters();
  auto plain = make_optimizer(kind, alone->parameters());
  for (int step = 0; step < kSteps; ++step) {
    plain->zero_grad();
    loss_of(alone, inputs_of(step), targets_of(step)).backward();
    plain->step();
  }

  std::vector<std::vector<torch::Tensor>> trained(static_cast<std::size_t>(n));
  on_ranks(n, [&](const ContextPointer& context) {
    auto network = make_network();
    DistributedOptimizer optimizer(make_optimizer(kind, network->parameters()), network->named_parameters(),
                                   {.context = context});
    for (int step = 0; step < kSteps; ++step) {
      optimizer.zero_grad(/*set_to_none=*/step % 2 == 0);
      loss_of(network, part(inputs_of(step), *context), part(targets_of(step), *context)).backward();
      optimizer.step();
    }
    trained[static_cast<std::size_t>(context->rank())] = network->parameters();
  });
  const auto expected = alone->parameters();
  for (const auto& parameters : trained) {
    ASSERT_EQ(parameters.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(torch::allclose(parameters[i], expected[i], 1e-11, 1e-12))
          << (parameters[i] - expected[i]).abs().max().item<double>();
      EXPECT_FALSE(torch::allclose(parameters[i], start[i], 1e-3, 1e-3)) << "nothing was learned";
      EXPECT_TRUE(torch::equal(parameters[i], trained[0][i])) << "ranks differ";
    }
  }
}

TEST(Closure, LbfgsDecidesAlikeOnAllRanks) {
  auto alone = make_network();
  torch::optim::LBFGS plain(alone->parameters(),
                            torch::optim::LBFGSOptions(0.5).max_iter(8).line_search_fn("strong_wolfe"));
  const auto expected_loss = plain.step([&] {
    plain.zero_grad();
    auto loss = loss_of(alone, inputs_of(0), targets_of(0));
    loss.backward();
    return loss;
  });
  on_ranks(2, [&](const ContextPointer& context) {
    auto network = make_network();
    torch::optim::LBFGS lbfgs(network->parameters(),
                              torch::optim::LBFGSOptions(0.5).max_iter(8).line_search_fn("strong_wolfe"));
    DistributedOptimizer optimizer(lbfgs, network->named_parameters(), {.context = context});
    const auto loss_before = optimizer.step([&] {
      optimizer.zero_grad();
      auto loss = loss_of(network, part(inputs_of(0), *context), part(targets_of(0), *context));
      loss.backward();
      return loss;
    });
    EXPECT_TRUE(torch::allclose(loss_before, expected_loss, 1e-12, 0)) << "of one rank only";
    for (std::size_t i = 0; i < alone->parameters().size(); ++i) {
      EXPECT_TRUE(torch::allclose(network->parameters()[i], alone->parameters()[i], 1e-8, 1e-10));
    }
  });
}

class Gradients : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Gradients, testing::Values(2, 3));

TEST_P(Gradients, OfAParameterUsedOnSomeRanksAreAveragedOverAll) {
  const int n = GetParam();
  on_ranks(n, [n](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    for (int step = 0; step < 3; ++step) {
      optimizer.zero_grad();
      auto loss = model.a.sum();
      if (context->rank() == n - 1) loss = loss + 6 * model.b.sum();
      loss.backward();
      EXPECT_TRUE(torch::equal(model.a.grad(), torch::ones_like(model.a)));
      ASSERT_TRUE(model.b.grad().defined());
      EXPECT_TRUE(torch::allclose(model.b.grad(), torch::full_like(model.b, 6.0 / n)));
      optimizer.step();
    }
  });
}

TEST_P(Gradients, OfAParameterUsedOnNoRankStayUndefined) {
  on_ranks(GetParam(), [](const ContextPointer& context) {
    TwoWeights model;
    const auto before = model.b.detach().clone();
    torch::optim::SGD sgd(model.parameters(), torch::optim::SGDOptions(0.1).weight_decay(0.5));
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    for (int step = 0; step < 3; ++step) {
      optimizer.zero_grad();
      model.a.sum().backward();
      EXPECT_FALSE(model.b.grad().defined());
      optimizer.step();
    }
    EXPECT_TRUE(torch::equal(model.b, before));
  });
}

TEST_P(Gradients, OfAParameterUsedTwiceAreAveragedOnce) {
  const int n = GetParam();
  on_ranks(n, [n](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    (model.a.sum() * (context->rank() + 1) + (model.a * 2).sum()).backward();
    EXPECT_TRUE(torch::allclose(model.a.grad(), torch::full_like(model.a, 2 + (n + 1) / 2.0)));
  });
}

TEST_P(Gradients, OfAFrozenParameterAreLeftAloneAndMayComeLater) {
  on_ranks(GetParam(), [](const ContextPointer& context) {
    TwoWeights model;
    model.b.set_requires_grad(false);
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    const auto backward = [&] {
      optimizer.zero_grad();
      (model.a.sum() + model.b.sum() * context->rank()).backward();
      optimizer.step();
    };
    backward();
    EXPECT_FALSE(model.b.grad().defined());
    model.b.set_requires_grad(true);
    backward();
    ASSERT_TRUE(model.b.grad().defined());
    EXPECT_TRUE(torch::allclose(model.b.grad(), torch::full_like(model.b, (context->size() - 1) / 2.0)));
  });
}

TEST_P(Gradients, MayLieInAnyOrderInMemory) {
  const int n = GetParam();
  on_ranks(n, [n](const ContextPointer& context) {
    auto weight = numbers({4, 6}, 0).t().detach().requires_grad_();
    ASSERT_FALSE(weight.is_contiguous());
    NamedTensors named;
    named.insert("weight", weight);
    torch::optim::SGD sgd({weight}, 0.1);
    DistributedOptimizer optimizer(sgd, named, {.context = context});
    (weight * numbers({6, 4}, context->rank())).sum().backward();
    auto expected = torch::zeros({6, 4}, torch::kFloat64);
    for (int r = 0; r < n; ++r) expected += numbers({6, 4}, r) / n;
    EXPECT_TRUE(torch::allclose(weight.grad(), expected, 1e-12, 1e-12));
  });
}

TEST_P(Gradients, OfTwoBackwardsAdd) {
  const int n = GetParam();
  on_ranks(n, [n](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    (model.a.sum() + model.b.sum()).backward();
    (model.a.sum() * context->rank()).backward();
    EXPECT_TRUE(torch::allclose(model.a.grad(), torch::full_like(model.a, 1 + (n - 1) / 2.0)));
    EXPECT_TRUE(torch::equal(model.b.grad(), torch::ones_like(model.b)));
    optimizer.step();
  });
}

TEST_P(Gradients, CanBeSums) {
  const int n = GetParam();
  on_ranks(n, [n](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.op = Sum, .context = context});
    for (int step = 0; step < 2; ++step) {
      optimizer.zero_grad();
      model.a.sum().backward();
      EXPECT_TRUE(torch::equal(model.a.grad(), torch::full_like(model.a, n)));
      optimizer.step();
    }
    model.a.sum().backward();
    EXPECT_TRUE(torch::equal(model.a.grad(), torch::full_like(model.a, 2 * n))) << "a further backward";
  });
}

TEST_P(Gradients, OfARankWithoutDataCountAsZero) {
  const int n = GetParam();
  on_ranks(n, [n](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    for (int step = 0; step < 3; ++step) {
      optimizer.zero_grad();
      if (context->rank() != step % n) model.a.sum().backward();
      optimizer.step();
      EXPECT_TRUE(torch::allclose(model.a.grad(), torch::full_like(model.a, (n - 1.0) / n)));
    }
  });
}

// Autograd makes a view of the incoming gradient p.grad, and the rest of backward still reads that gradient.
TEST_P(Gradients, MayBeViewsOfWhatBackwardStillReads) {
  on_ranks(GetParam(), [](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    const double mean_rank = (context->size() - 1) / 2.0;
    for (int step = 0; step < 20; ++step) {
      optimizer.zero_grad();
      const auto before = torch::tanh(model.b);  // its backward comes after the gradient of a is complete
      const auto sum = before.sum() + model.a.unsqueeze(0);
      (sum * (1.0 + context->rank())).sum().backward();
      EXPECT_TRUE(torch::allclose(model.a.grad(), torch::full({3}, 1.0 + mean_rank, torch::kFloat64)))
          << model.a.grad();
      const auto slope = 1 - torch::tanh(model.b.detach()).square();
      EXPECT_TRUE(torch::allclose(model.b.grad(), slope * 3 * (1.0 + mean_rank))) << model.b.grad();
    }
  });
}

TEST_P(Gradients, MayShareTheirMemory) {
  on_ranks(GetParam(), [](const ContextPointer& context) {
    torch::nn::Module model;
    auto p = model.register_parameter("p", numbers({2, 3}, 0));
    auto q = model.register_parameter("q", numbers({2, 3}, 1));
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    for (int step = 0; step < 5; ++step) {
      optimizer.zero_grad();
      auto second = q.view({3, 2});
      // Time to reduce p's gradient before q's is taken from the same memory.
      second.register_hook(
          [](const torch::Tensor&) { std::this_thread::sleep_for(std::chrono::milliseconds(5)); });
      ((p.view({3, 2}) + second) * (1.0 + context->rank())).sum().backward();
      const auto expected = torch::full({2, 3}, 1.0 + (context->size() - 1) / 2.0, torch::kFloat64);
      EXPECT_TRUE(torch::equal(p.grad(), expected)) << p.grad();
      EXPECT_TRUE(torch::equal(q.grad(), expected)) << q.grad();
    }
  });
}

// The usual gradient is reduced where it lies: in memory of its own, or in what ranks share from the second step on.
TEST_P(Gradients, StayWhereTheyAre) {
  on_ranks(GetParam(), [](const ContextPointer& context) {
    auto network = make_network();
    torch::optim::SGD sgd(network->parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, network->named_parameters(), {.context = context});
    const auto weight = network->parameters().front();
    const void* memory = nullptr;
    for (int step = 0; step < 6; ++step) {
      if (step == 2) memory = weight.grad().data_ptr();
      optimizer.zero_grad(false);
      loss_of(network, inputs_of(step), targets_of(step)).backward();
      if (step > 2) {
        EXPECT_EQ(weight.grad().data_ptr(), memory) << "step " << step;
      }
    }
  });
}

TEST_P(Gradients, OfTwoOptimizersDoNotMix) {
  const int n = GetParam();
  on_ranks(n, [n](const ContextPointer& context) {
    TwoWeights first;
    TwoWeights second;
    torch::optim::SGD sgd_of_first(first.parameters(), 0.1);
    torch::optim::SGD sgd_of_second(second.parameters(), 0.1);
    DistributedOptimizer one(sgd_of_first, first.named_parameters(), {.context = context});
    DistributedOptimizer two(sgd_of_second, second.named_parameters(), {.context = context});
    (first.a.sum() * context->rank() + second.a.sum() * 10).backward();
    EXPECT_TRUE(torch::allclose(first.a.grad(), torch::full_like(first.a, (n - 1) / 2.0)));
    EXPECT_TRUE(torch::allclose(second.a.grad(), torch::full_like(second.a, 10.0)));
    one.step();
    two.step();
  });
}

}  // namespace
}  // namespace hvd
