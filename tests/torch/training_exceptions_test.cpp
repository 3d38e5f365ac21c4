// Exceptions inside backward on one rank, early, in the middle and after the last gradient: all ranks drop that step and train on as if
// it had never been. And ranks that differ in what they do.
#include "tests/torch/same_training.h"

namespace hvd {
namespace {

enum class Where { early, middle, late };
enum class Then { steps, clears, communicates, goes_on };

class Exceptions : public testing::TestWithParam<std::tuple<int, Where, Then>> {};
INSTANTIATE_TEST_SUITE_P(
    Loops, Exceptions,
    testing::Combine(testing::Values(2, 3), testing::Values(Where::early, Where::middle, Where::late),
                     testing::Values(Then::steps, Then::clears, Then::communicates, Then::goes_on)));

TEST_P(Exceptions, DropOneStep) {
  const auto [n, where, then] = GetParam();
  const auto is_broken = [](int step) { return step == 2 || step == 3; };
  expect_same_training<Towers>(n, [&](Towers& model, const Side& side) {
    Trainer trainer(side, sgd_of(model.parameters()), model.named_parameters());
    for (int step = 0; step < kSteps + 2; ++step) {
      if (is_broken(step) && side.is_alone()) continue;
      if (side.is_alone() || then == Then::steps || then == Then::communicates || !is_broken(step - 1)) {
        trainer.zero_grad(/*set_to_none=*/step % 3 != 0);
      }
      const auto backward = [&] {
        side.backward([&](int rank) {
          const bool breaks = is_broken(step) && rank == side.size() - 1;
          auto inputs = side.part(inputs_of(step), rank);
          if (where == Where::late) inputs = Fragile::apply(inputs.clone().requires_grad_(), breaks);
          auto hidden = torch::tanh(model.below(inputs));
          if (where == Where::middle) hidden = Fragile::apply(hidden, breaks);
          auto middle = model.right(hidden).repeat({1, 3}).slice(1, 0, 8);
          if (where == Where::early) middle = Fragile::apply(middle, breaks);
          return torch::mse_loss(model.left(middle), side.part(targets_of(step), rank));
        });
      };
      if (!is_broken(step)) {
        backward();
        trainer.step();
        continue;
      }
      std::string message;
      try {
        backward();
      } catch (const StepDiscarded& error) {
        message = "discarded";
        EXPECT_NE(std::string(error.what()).find("dropped on all ranks"), std::string::npos) << error.what();
      } catch (const std::runtime_error& error) {
        message = error.what();
      }
      EXPECT_EQ(message, side.rank() == side.size() - 1 ? "this layer is broken" : "discarded");
      if (then == Then::communicates) {
        const auto sum = allreduce(torch::ones(3), {.name = "after", .op = Sum, .context = side.context()});
        EXPECT_TRUE(torch::equal(sum, torch::full(3, static_cast<float>(side.size()))));
      }
      if (then == Then::clears) trainer.zero_grad(/*set_to_none=*/step == 2);
      if (then != Then::clears) trainer.step();
    }
  });
}

// An optimizer with momentum moves a parameter whose gradient is zeros, and leaves one alone whose gradient is undefined.
TEST(DroppedStep, LeavesGradientsDefinedOnAllRanksOrNone) {
  on_ranks(2, [](const ContextPointer& context) {
    Towers model;
    torch::optim::SGD sgd(model.parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    const auto backward = [&](bool uses_right, bool breaks = false) {
      const auto hidden = Fragile::apply(model.hidden(part(inputs_of(0), *context)), breaks);
      auto outputs = model.left(hidden);
      if (uses_right) outputs = outputs + model.right(hidden);
      outputs.square().mean().backward();
    };
    backward(true);
    optimizer.step();
    optimizer.zero_grad();
    EXPECT_THROW(backward(/*uses_right=*/context->rank() == 0, /*breaks=*/context->rank() == 1),
                 std::runtime_error);
    optimizer.step();
    EXPECT_FALSE(model.right->weight.grad().defined()) << "it was not before the step";
    optimizer.zero_grad(/*set_to_none=*/false);
    backward(false);
    optimizer.step();
    for (const auto& parameter : model.parameters()) {
      EXPECT_TRUE(torch::equal(allreduce(parameter, {.op = Max, .context = context}), parameter));
    }
    // What was defined stays so, also where no backward reaches it.
    optimizer.zero_grad(/*set_to_none=*/false);
    EXPECT_THROW(backward(false, /*breaks=*/context->rank() == 1), std::runtime_error);
    optimizer.step();
    EXPECT_TRUE(torch::equal(model.left->weight.grad(), torch::zeros_like(model.left->weight)));
    EXPECT_TRUE(torch::equal(model.below->weight.grad(), torch::zeros_like(model.below->weight)));
  });
}

TEST(Mismatch, OfARankWithOneBackwardFewerIsToldOnAll) {
  for (const int n : {2, 3}) {
    on_ranks(n, [n](const ContextPointer& context) {
      Towers model;
      torch::optim::SGD sgd(model.parameters(), 0.1);
      DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
      const auto backward = [&](int step) {
        model.left(model.hidden(part(inputs_of(step), *context))).square().mean().backward();
      };
      const auto train = [&](int steps, bool with_mistake) {
        for (int step = 0; step < steps; ++step) {
          optimizer.zero_grad();
          backward(step);
          const bool leaves_out = with_mistake && step == 2 && context->rank() == n - 1;
          if (!leaves_out) backward(step + 1);
          optimizer.step();
        }
      };
      std::string message;
      try {
        train(5, true);
      } catch (const MismatchError& error) {
        message = error.what();
      }
      EXPECT_NE(message.find("same number of backwards"), std::string::npos) << message;
      broadcast_parameters(model, 0, {.context = context});
      train(3, false);
      EXPECT_TRUE(
          torch::equal(allreduce(model.left->weight, {.op = Max, .context = context}), model.left->weight));
    });
  }
}

TEST(Mismatch, AStepInsideABackwardIsRefused) {
  on_ranks(2, [](const ContextPointer& context) {
    Towers model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    auto inputs = part(inputs_of(0), *context).clone().requires_grad_();
    inputs.register_hook([&](const torch::Tensor& gradient) {
      EXPECT_THROW(optimizer.step(), std::logic_error);
      return gradient;
    });
    model.left(model.hidden(inputs)).sum().backward();
    optimizer.step();
  });
}

// register_hook() in C++ throws away hooks that others have set.
TEST(Hooks, OfTheUserThatCome) {
  on_ranks(2, [](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.op = Sum, .context = context});
    int calls = 0;
    model.a.register_hook([&](const torch::Tensor& gradient) {
      ++calls;
      return gradient * 2;
    });
    for (int step = 0; step < 3; ++step) {
      optimizer.zero_grad();
      for (int pass = 1; pass <= (step == 0 ? 1 : 3); ++pass) {
        model.a.sum().backward();
        EXPECT_TRUE(torch::equal(model.a.grad(), torch::full_like(model.a, 4.0 * pass))) << model.a.grad();
      }
      optimizer.step();
    }
    EXPECT_EQ(calls, 7);
  });
}

}  // namespace
}  // namespace hvd
