// The options of DistributedOptimizer that do not change how gradients travel, against one process.
#include <array>
#include <limits>

#include "tests/torch/models.h"
#include "tests/torch/optimizers.h"

namespace hvd {
namespace {

class Options : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Options, testing::Values(1, 2, 3));

// One process that sees, in `passes` backwards a step, what `n` ranks see together, and takes the mean over ranks.
void train_alone(torch::nn::Sequential& network, torch::optim::Optimizer& optimizer, int steps, int passes,
                 double factor) {
  for (int step = 0; step < steps; ++step) {
    optimizer.zero_grad();
    for (int pass = 0; pass < passes; ++pass) {
      const int data = step * passes + pass;
      (loss_of(network, inputs_of(data), targets_of(data)) * factor).backward();
    }
    optimizer.step();
  }
}

void backward(torch::nn::Sequential& network, const Context& context, int data) {
  loss_of(network, part(inputs_of(data), context), part(targets_of(data), context)).backward();
}

TEST_P(Options, BackwardPassesPerStepAddUpAndAreAveragedOverRanks) {
  constexpr int kPasses = 3;
  constexpr int kSteps = 4;
  for (const bool average : {false, true}) {
    auto alone = make_network();
    train_alone(alone, *make_optimizer("Adam", alone->parameters()), kSteps, kPasses,
                average ? 1.0 / kPasses : 1.0);
    on_ranks(GetParam(), [&](const ContextPointer& context) {
      auto network = make_network();
      DistributedOptimizer optimizer(
          make_optimizer("Adam", network->parameters()), network->named_parameters(),
          {.context = context, .backward_passes_per_step = kPasses, .average_aggregated_gradients = average});
      for (int step = 0; step < kSteps; ++step) {
        optimizer.zero_grad();
        for (int pass = 0; pass < kPasses; ++pass) backward(network, *context, step * kPasses + pass);
        optimizer.step();
      }
      expect_close(network->parameters(), alone->parameters(), 1e-10);
    });
  }
}

// Without communication p.grad is this rank's own, and ranks need not wait for each other.
TEST_P(Options, EarlyPassesDoNotCommunicate) {
  on_ranks(GetParam(), [](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(),
                                   {.context = context, .backward_passes_per_step = 2});
    const double mine = context->rank() + 1;
    const double mean = (context->size() + 1) / 2.0;
    for (int step = 0; step < 2; ++step) {
      optimizer.zero_grad();
      (model.a * mine).sum().backward();
      EXPECT_TRUE(torch::equal(model.a.grad(), torch::full_like(model.a, mine)));
      (model.b * mine).sum().backward();  // a is not used in the pass that communicates
      EXPECT_TRUE(torch::allclose(model.a.grad(), torch::full_like(model.a, mean)));
      EXPECT_TRUE(torch::allclose(model.b.grad(), torch::full_like(model.b, mean)));
      optimizer.step();
    }
  });
}

TEST_P(Options, AStepAfterFewerPassesReducesWhatThereIs) {
  const int n = GetParam();
  on_ranks(n, [n](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(),
                                   {.context = context, .backward_passes_per_step = 3});
    // Rank 0 is short of data: one pass, the others have three.
    for (int step = 0; step < 2; ++step) {
      optimizer.zero_grad();
      const int passes = context->rank() == 0 ? 1 : 3;
      for (int pass = 0; pass < passes; ++pass) model.a.sum().backward();
      optimizer.step();
      EXPECT_TRUE(torch::allclose(model.a.grad(), torch::full_like(model.a, (1.0 + 3 * (n - 1)) / n)));
      EXPECT_FALSE(model.b.grad().defined());
    }
  });
}

TEST_P(Options, NoSyncAddsUpUntilTheNextBackward) {
  on_ranks(GetParam(), [](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    const double mine = context->rank() + 1;
    const double mean = (context->size() + 1) / 2.0;
    for (int step = 0; step < 2; ++step) {
      optimizer.zero_grad();
      {
        const auto guard = optimizer.no_sync();
        {
          const auto inner = optimizer.no_sync();
          (model.a * mine).sum().backward();
        }
        (model.b * mine).sum().backward();
        EXPECT_TRUE(torch::equal(model.a.grad(), torch::full_like(model.a, mine)));
        EXPECT_TRUE(torch::equal(model.b.grad(), torch::full_like(model.b, mine)));
      }
      (model.a * 10).sum().backward();
      EXPECT_TRUE(torch::allclose(model.a.grad(), torch::full_like(model.a, 10 + mean)));
      EXPECT_TRUE(torch::allclose(model.b.grad(), torch::full_like(model.b, mean)));
      optimizer.step();
      // Also without such a backward step() takes averages.
      optimizer.zero_grad();
      {
        const auto guard = optimizer.no_sync();
        (model.b * mine).sum().backward();
      }
      optimizer.step();
      EXPECT_TRUE(torch::allclose(model.b.grad(), torch::full_like(model.b, mean)));
    }
    auto guard = std::make_unique<NoSyncGuard>(optimizer.no_sync());
    const NoSyncGuard moved(std::move(*guard));
    guard.reset();
    (model.a * mine).sum().backward();
    EXPECT_TRUE(torch::equal(model.a.grad(), torch::full_like(model.a, mine))) << "the guard lives on";
    optimizer.zero_grad();
  });
}

// What is added after gradients were reduced is reduced alone, and added.
TEST_P(Options, ManyPassesBeforeAStepAddUp) {
  const int n = GetParam();
  on_ranks(n, [n](const ContextPointer& context) {
    for (const ReduceOp op : {Average, Sum}) {
      TwoWeights model;
      torch::optim::SGD sgd(model.parameters(), 0.1);
      DistributedOptimizer optimizer(sgd, model.named_parameters(),
                                     {.op = op,
                                      .context = context,
                                      .backward_passes_per_step = 2,
                                      .average_aggregated_gradients = true});
      const double sum = 5 * n * (n + 1) / 4.0;  // five passes, each divided by 2
      for (int step = 0; step < 2; ++step) {
        optimizer.zero_grad();
        for (int pass = 0; pass < 5; ++pass) (model.a * (1.0 + context->rank())).sum().backward();
        optimizer.step();
        EXPECT_TRUE(torch::allclose(model.a.grad(), torch::full_like(model.a, op == Sum ? sum : sum / n)))
            << model.a.grad();
      }
    }
  });
}

TEST_P(Options, KeptGradientsMayShareTheirMemory) {
  on_ranks(GetParam(), [](const ContextPointer& context) {
    torch::nn::Module model;
    auto p = model.register_parameter("p", numbers({2, 3}, 0));
    auto q = model.register_parameter("q", numbers({2, 3}, 1));
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    optimizer.zero_grad();
    {
      const auto guard = optimizer.no_sync();
      ((p.view({3, 2}) + q.view({3, 2})) * (1.0 + context->rank())).sum().backward();
    }
    optimizer.step();
    const auto expected = torch::full({2, 3}, 1.0 + (context->size() - 1) / 2.0, torch::kFloat64);
    EXPECT_TRUE(torch::equal(p.grad(), expected)) << p.grad();
    EXPECT_TRUE(torch::equal(q.grad(), expected)) << q.grad();
  });
}

TEST_P(Options, AClosureMayHaveSeveralPasses) {
  constexpr int kPasses = 2;
  auto alone = make_network();
  const auto plain = make_optimizer("LBFGS", alone->parameters());
  plain->step([&] {
    plain->zero_grad();
    auto loss = loss_of(alone, inputs_of(0), targets_of(0));
    loss.backward();
    const auto second = loss_of(alone, inputs_of(1), targets_of(1));
    second.backward();
    return (loss + second).detach();
  });
  on_ranks(GetParam(), [&](const ContextPointer& context) {
    auto network = make_network();
    DistributedOptimizer optimizer(make_optimizer("LBFGS", network->parameters()),
                                   network->named_parameters(),
                                   {.context = context, .backward_passes_per_step = kPasses});
    optimizer.step([&] {
      optimizer.zero_grad();
      torch::Tensor sum = torch::zeros({}, torch::kFloat64);
      for (int pass = 0; pass < kPasses; ++pass) {
        const auto loss = loss_of(network, part(inputs_of(pass), *context), part(targets_of(pass), *context));
        loss.backward();
        sum += loss.detach();
      }
      return sum;
    });
    expect_close(network->parameters(), alone->parameters(), 1e-8);
  });
}

TEST_P(Options, PredivideFactorChangesOnlyRounding) {
  auto alone = make_network();
  train_alone(alone, *make_optimizer("SGD", alone->parameters()), 5, 1, 1.0);
  on_ranks(GetParam(), [&](const ContextPointer& context) {
    for (const double factor : {0.5, 3.0, 49.0}) {
      auto network = make_network();
      DistributedOptimizer optimizer(make_optimizer("SGD", network->parameters()),
                                     network->named_parameters(),
                                     {.context = context, .gradient_predivide_factor = factor});
      for (int step = 0; step < 5; ++step) {
        optimizer.zero_grad();
        backward(network, *context, step);
        optimizer.step();
      }
      expect_close(network->parameters(), alone->parameters(), 1e-11);
    }
  });
}

TEST_P(Options, GroupsOfAnyShapeTrainAlike) {
  auto alone = make_network();
  train_alone(alone, *make_optimizer("Adam", alone->parameters()), 5, 1, 1.0);
  on_ranks(GetParam(), [&](const ContextPointer& context) {
    for (int variant = 0; variant < 5; ++variant) {
      auto network = make_network();
      const auto p = network->parameters();
      DistributedOptimizerOptions options{.context = context};
      if (variant < 3) options.num_groups = std::array{1, 3, 4}.at(static_cast<std::size_t>(variant));
      if (variant == 3) options.groups = {{p[0], p[3]}, {p[2]}};
      if (variant == 4) options.groups = {{p[1], p[2], p[0]}};
      DistributedOptimizer optimizer(make_optimizer("Adam", p), network->named_parameters(), options);
      for (int step = 0; step < 5; ++step) {
        optimizer.zero_grad();
        backward(network, *context, step);
        optimizer.step();
      }
      expect_close(p, alone->parameters(), 1e-11, "variant " + std::to_string(variant));
    }
  });
}

TEST_P(Options, AGroupWithAParameterThatIsNotUsedIsReducedAtTheEnd) {
  const int n = GetParam();
  on_ranks(n, [n](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context, .num_groups = 1});
    for (int step = 0; step < 3; ++step) {
      optimizer.zero_grad();
      auto loss = model.a.sum() * (1.0 + context->rank());
      const bool uses_b = step == 1 && context->rank() == n - 1;
      if (uses_b) loss = loss + 6 * model.b.sum();
      loss.backward();
      EXPECT_TRUE(torch::allclose(model.a.grad(), torch::full_like(model.a, (n + 1) / 2.0)));
      ASSERT_EQ(model.b.grad().defined(), step == 1);
      if (step == 1) {
        EXPECT_TRUE(torch::allclose(model.b.grad(), torch::full_like(model.b, 6.0 / n)));
      }
      optimizer.step();
    }
  });
}

TEST_P(Options, ClippingIsThatOfLibTorchAfterBackward) {
  for (const double limit : {0.01, 1e9, std::numeric_limits<double>::infinity()}) {
    auto alone = make_network();
    const auto plain = make_optimizer("SGD", alone->parameters());
    std::vector<double> norms;
    for (int step = 0; step < 5; ++step) {
      plain->zero_grad();
      loss_of(alone, inputs_of(step), targets_of(step)).backward();
      norms.push_back(torch::nn::utils::clip_grad_norm_(alone->parameters(), limit));
      plain->step();
    }
    std::vector<Tensors> trained(static_cast<std::size_t>(GetParam()));
    on_ranks(GetParam(), [&](const ContextPointer& context) {
      auto network = make_network();
      DistributedOptimizer optimizer(make_optimizer("SGD", network->parameters()),
                                     network->named_parameters(), {.context = context, .clip_norm = limit});
      EXPECT_EQ(optimizer.last_gradient_norm(), 0.0);
      int step = 0;
      for (const double norm : norms) {
        optimizer.zero_grad();
        backward(network, *context, step++);
        optimizer.step();
        EXPECT_NEAR(optimizer.last_gradient_norm(), norm, 1e-11 * norm);
      }
      trained[static_cast<std::size_t>(context->rank())] = network->parameters();
    });
    for (const auto& parameters : trained) {
      expect_close(parameters, alone->parameters(), 1e-11);
      expect_same_bits(parameters, trained[0], "ranks differ");
    }
  }
}

}  // namespace
}  // namespace hvd
