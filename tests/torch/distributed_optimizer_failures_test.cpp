// What DistributedOptimizer does when something is wrong, and when it comes and goes.
#include "tests/torch/models.h"

namespace hvd {
namespace {

TEST(Mistakes, ABackwardThatThrowsDropsTheStepOnAllRanks) {
  on_ranks(3, [](const ContextPointer& context) {
    torch::nn::Linear below(4, 4);
    torch::nn::Linear above(4, 1);
    torch::nn::Sequential both(below, above);
    both->to(torch::kFloat64);
    fill(*both);
    torch::optim::SGD sgd(both->parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, both->named_parameters(), {.context = context});
    const auto backward = [&](bool breaks) {
      const auto hidden = Fragile::apply(below(numbers({2, 4}, context->rank())), breaks);
      above(hidden).sum().backward();
    };
    backward(false);
    optimizer.step();
    const auto before = above->weight.detach().clone();
    std::string message;
    try {
      optimizer.zero_grad();
      backward(context->rank() == 1);
    } catch (const StepDiscarded& error) {
      message = "discarded";
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
    EXPECT_EQ(message, context->rank() == 1 ? "this layer is broken" : "discarded");
    optimizer.step();
    EXPECT_TRUE(torch::equal(above->weight, before)) << "the step was taken";
    for (int step = 0; step < 2; ++step) {
      optimizer.zero_grad();
      backward(false);
      optimizer.step();
    }
    EXPECT_FALSE(torch::equal(above->weight, before));
    const auto highest = allreduce(above->weight, {.op = Max, .context = context});
    EXPECT_TRUE(torch::equal(above->weight, highest)) << "ranks differ";
  });
}

TEST(Mistakes, DifferentNumbersOfBackwardsAreToldOnEveryRank) {
  on_ranks(3, [](const ContextPointer& context) {
    auto network = make_network();
    torch::optim::SGD sgd(network->parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, network->named_parameters(), {.context = context});
    const auto backward = [&] { loss_of(network, inputs_of(0), targets_of(0)).backward(); };
    backward();
    if (context->rank() != 1) optimizer.step();
    EXPECT_THROW(backward(), MismatchError);
    optimizer.step();
    EXPECT_NO_THROW(backward());
  });
}

TEST(Mistakes, ADroppedStepIsDroppedOnceEvenForARankWithoutData) {
  on_ranks(2, [](const ContextPointer& context) {
    torch::nn::Linear below(4, 4);
    below->to(torch::kFloat64);
    fill(*below);
    torch::optim::SGD sgd(below->parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, below->named_parameters(), {.context = context});
    const auto backward = [&](bool breaks) {
      const auto input = Fragile::apply(below->weight, breaks);
      (input.sum() + below->bias.sum()).backward();
    };
    if (context->rank() == 0) {
      EXPECT_THROW(backward(true), std::runtime_error);
      EXPECT_FALSE(optimizer.step().defined());
    } else {
      EXPECT_THROW(optimizer.step(), StepDiscarded);
    }
    below->zero_grad();
    const auto before = below->bias.detach().clone();
    backward(false);
    optimizer.step();
    EXPECT_FALSE(torch::equal(below->bias, before)) << "rank " << context->rank() << " did not take the step";
  });
}

struct Counting : torch::autograd::PostAccumulateGradHook {
  explicit Counting(int& calls) : calls_(calls) {}
  void operator()(const torch::Tensor&) override { ++calls_; }
  int& calls_;
};

TEST(Hooks, RunTheEarlierOneAndPutItBack) {
  on_ranks(2, [](const ContextPointer& context) {
    int calls = 0;
    TwoWeights model;
    torch::autograd::impl::set_post_acc_grad_hooks(model.a, std::make_unique<Counting>(calls));
    {
      torch::optim::SGD sgd(model.parameters(), 0.1);
      DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
      model.a.sum().backward();
      EXPECT_EQ(calls, 1);
    }
    model.zero_grad();
    (model.a.sum() * context->rank()).backward();
    EXPECT_EQ(calls, 2);
    EXPECT_TRUE(torch::equal(model.a.grad(), torch::full_like(model.a, context->rank()))) << "still averaged";
    EXPECT_EQ(torch::autograd::impl::post_acc_grad_hooks(model.b), nullptr);
  });
}

TEST(Lifetime, ModelAndOptimizersMayGoInAnyOrder) {
  on_ranks(2, [](const ContextPointer& context) {
    for (const bool model_goes_first : {true, false}) {
      auto model = std::make_unique<TwoWeights>();
      auto sgd = std::make_unique<torch::optim::SGD>(model->parameters(), 0.1);
      auto optimizer = std::make_unique<DistributedOptimizer>(
          *sgd, model->named_parameters(), DistributedOptimizerOptions{.context = context});
      const auto loss = model->a.sum() + model->b.sum();
      loss.backward();
      optimizer->step();
      if (model_goes_first) {
        model.reset();
        sgd.reset();
        optimizer.reset();
      } else {
        optimizer.reset();
        sgd.reset();
        model.reset();
      }
    }
  });
}

TEST(Lifetime, APendingGraphMayOutliveTheOptimizer) {
  on_ranks(2, [](const ContextPointer& context) {
    TwoWeights model;
    const auto loss = (model.a * (1.0 + context->rank())).sum();
    {
      torch::optim::SGD sgd(model.parameters(), 0.1);
      const DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    }
    loss.backward();
    EXPECT_TRUE(torch::equal(model.a.grad(), torch::full_like(model.a, 1.0 + context->rank())));
  });
}

TEST(Mistakes, AreToldAtOnce) {
  on_ranks(2, [](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    NamedTensors only_a;
    only_a.insert("a", model.a);
    const DistributedOptimizerOptions options{.context = context};
    EXPECT_THROW(DistributedOptimizer(sgd, only_a, options), std::invalid_argument);
    EXPECT_THROW(DistributedOptimizer(sgd, model.named_parameters(), {.op = Max, .context = context}),
                 std::invalid_argument);
    const DistributedOptimizer first(sgd, model.named_parameters(), options);
    EXPECT_THROW(DistributedOptimizer(sgd, model.named_parameters(), options), std::invalid_argument);
  });
}

TEST(Mistakes, DifferentModelsAreFoundOnEveryRank) {
  on_ranks(3, [](const ContextPointer& context) {
    torch::nn::Linear model(context->rank() == 1 ? 3 : 2, 2);
    torch::optim::SGD sgd(model->parameters(), 0.1);
    EXPECT_THROW(DistributedOptimizer(sgd, model->named_parameters(), {.context = context}), MismatchError);
    torch::nn::Linear with_or_without(torch::nn::LinearOptions(2, 2).bias(context->rank() != 2));
    torch::optim::SGD other(with_or_without->parameters(), 0.1);
    EXPECT_THROW(DistributedOptimizer(other, with_or_without->named_parameters(), {.context = context}),
                 MismatchError);
  });
}

TEST(World, ThatFailsDuringTrainingThrowsEverywhereAndEndsCleanly) {
  on_ranks(
      3,
      [](const ContextPointer& context) {
        auto network = make_network();
        torch::optim::SGD sgd(network->parameters(), 0.1);
        DistributedOptimizer optimizer(sgd, network->named_parameters(), {.context = context});
        const auto train = [&] {
          for (int step = 0; step < 1000; ++step) {
            if (context->rank() == 1 && step == 3) {
              context->session().abort(Status::aborted("rank 1: its disk is on fire"));
            }
            optimizer.zero_grad();
            loss_of(network, inputs_of(step), targets_of(step)).backward();
            optimizer.step();
          }
        };
        EXPECT_THROW(train(), WorldError);
        EXPECT_THROW(optimizer.step(), WorldError) << "also later";
      },
      /*ends_well=*/false);
}

TEST(World, ThatWasShutDownIsAnErrorAndNotAHang) {
  on_ranks(
      2,
      [](const ContextPointer& context) {
        TwoWeights model;
        torch::optim::SGD sgd(model.parameters(), 0.1);
        DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
        EXPECT_TRUE(context->session().shutdown(Deadline::after(kTestDeadline)).is_ok());
        EXPECT_THROW(model.a.sum().backward(), WorldError);
      },
      /*ends_well=*/false);
}

}  // namespace
}  // namespace hvd
