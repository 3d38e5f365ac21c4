// The ways in which people write training loops: each ends with the parameters that one process would have.
#include "tests/torch/same_training.h"

namespace hvd {
namespace {

class Loop : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Loop, testing::Values(1, 2, 3));

// Which of the towers a rank's loss uses in a step.
using Uses = std::function<bool(int rank, int step)>;
void train_towers(int n, const Uses& uses_left, const Uses& uses_right) {
  expect_same_training<Towers>(n, [&](Towers& model, const Side& side) {
    Trainer trainer(side, sgd_of(model.parameters()), model.named_parameters());
    for (int step = 0; step < kSteps; ++step) {
      trainer.zero_grad(/*set_to_none=*/step % 3 != 1);
      side.backward([&](int rank) {
        const auto hidden = model.hidden(side.part(inputs_of(step), rank));
        auto output = hidden.slice(1, 0, 3);
        if (uses_left(rank, step)) output = output + model.left(hidden);
        if (uses_right(rank, step))
          output = output + model.right(model.left(hidden).repeat({1, 3}).slice(1, 0, 8));
        return torch::mse_loss(output, side.part(targets_of(step), rank));
      });
      trainer.step();
    }
  });
}

TEST_P(Loop, WithAParameterThatSomeRanksDoNotUse) {
  const int n = GetParam();
  train_towers(n, [](int, int) { return true; }, [n](int rank, int step) { return rank != step % n; });
}
TEST_P(Loop, WithAParameterThatNoRankUsesInSomeSteps) {
  train_towers(GetParam(), [](int, int) { return true; }, [](int, int step) { return step % 2 == 0; });
}
TEST_P(Loop, WithAParameterThatIsUsedTwice) {
  train_towers(GetParam(), [](int, int) { return true; }, [](int, int) { return true; });
}
TEST_P(Loop, WithAnotherParameterOnEachRank) {
  const int n = GetParam();
  train_towers(
      n, [n](int rank, int step) { return rank == step % n; },
      [n](int rank, int step) { return rank == (step + 1) % n; });
}

torch::Tensor tower_loss(Towers& model, const Side& side, int rank, int step) {
  const auto hidden = model.hidden(side.part(inputs_of(step), rank));
  return torch::mse_loss(model.left(hidden) * model.right(hidden), side.part(targets_of(step), rank));
}

TEST_P(Loop, ThatFreezesAndUnfreezes) {
  expect_same_training<Towers>(GetParam(), [](Towers& model, const Side& side) {
    model.right->weight.set_requires_grad(false);
    Trainer trainer(side, sgd_of(model.parameters()), model.named_parameters());
    for (int step = 0; step < 2 * kSteps; ++step) {
      model.right->weight.set_requires_grad(step % 4 >= 2);
      model.left->bias.set_requires_grad(step % 3 != 1);
      trainer.zero_grad(/*set_to_none=*/step != 5);
      side.backward([&](int rank) { return tower_loss(model, side, rank, step); });
      trainer.step();
    }
  });
}

TEST_P(Loop, WithSeveralBackwardsAStep) {
  for (const ReduceOp op : {Average, Sum}) {
    for (const bool set_to_none : {true, false}) {
      expect_same_training<Towers>(
          GetParam(),
          [&](Towers& model, const Side& side) {
            Trainer trainer(side, sgd_of(model.parameters()), model.named_parameters());
            for (int step = 0; step < kSteps; ++step) {
              trainer.zero_grad(set_to_none);
              for (int pass = 0; pass < 3; ++pass) {
                side.backward([&](int rank) { return tower_loss(model, side, rank, (10 * step) + pass); });
              }
              trainer.step();
            }
          },
          op);
    }
  }
}

// Two losses of one forward, of which the second leaves out what the first used, and differs between ranks.
TEST_P(Loop, WithTwoLossesAndTwoBackwards) {
  for (const ReduceOp op : {Average, Sum}) {
    expect_same_training<Towers>(
        GetParam(),
        [&](Towers& model, const Side& side) {
          Trainer trainer(side, sgd_of(model.parameters()), model.named_parameters());
          for (int step = 0; step < kSteps; ++step) {
            trainer.zero_grad(step % 2 == 0);
            std::vector<torch::Tensor> hidden;
            for (int rank = 0; rank < side.size(); ++rank) {
              hidden.push_back(model.hidden(side.part(inputs_of(step), rank)));
            }
            const auto hidden_of = [&](int rank) { return hidden[static_cast<std::size_t>(rank)]; };
            const auto first = [&](int rank) { return model.left(hidden_of(rank)).square().mean(); };
            if (side.is_alone()) {
              torch::Tensor total = first(0);
              for (int rank = 1; rank < side.size(); ++rank) total = total + first(rank);
              (op == Sum ? total : total / side.size()).backward({}, /*retain_graph=*/true);
            } else {
              first(side.rank()).backward({}, /*retain_graph=*/true);
            }
            side.backward([&](int rank) {
              const auto output = rank == 1 ? model.left(hidden_of(rank)) : model.right(hidden_of(rank));
              return torch::mse_loss(output, side.part(targets_of(step), rank));
            });
            trainer.step();
          }
        },
        op);
  }
}

// Without zero_grad: gradients of all steps add up.
TEST_P(Loop, ThatNeverClearsGradients) {
  expect_same_training<Towers>(
      GetParam(),
      [](Towers& model, const Side& side) {
        Trainer trainer(side, sgd_of(model.parameters(), 0), model.named_parameters());
        for (int step = 0; step < kSteps; ++step) {
          side.backward([&](int rank) { return tower_loss(model, side, rank, step) * 0.2; });
          trainer.step();
        }
      },
      Sum);
}

TEST_P(Loop, ThatClearsGradientsOfTheModelItself) {
  for (const bool set_to_none : {true, false}) {
    expect_same_training<Towers>(
        GetParam(),
        [&](Towers& model, const Side& side) {
          Trainer trainer(side, sgd_of(model.parameters()), model.named_parameters());
          for (int step = 0; step < kSteps; ++step) {
            side.backward([&](int rank) { return tower_loss(model, side, rank, step); });
            trainer.step();
            model.zero_grad(set_to_none);
          }
        },
        Sum);
  }
}

TEST_P(Loop, ThatClipsGradients) {
  expect_same_training<Towers>(GetParam(), [](Towers& model, const Side& side) {
    Trainer trainer(side, sgd_of(model.parameters()), model.named_parameters());
    for (int step = 0; step < kSteps; ++step) {
      trainer.zero_grad();
      for (int pass = 0; pass < 2; ++pass) {
        side.backward([&](int rank) { return 50 * tower_loss(model, side, rank, step + pass); });
        const double norm = torch::nn::utils::clip_grad_norm_(model.parameters(), 1.0);
        EXPECT_GT(norm, 1.0) << "nothing was clipped";
      }
      trainer.step();
    }
  });
}

// Second-order methods ask for gradients of parameters that are not to be accumulated, also inside of backward.
TEST_P(Loop, ThatAlsoAsksForGradientsByItself) {
  expect_same_training<Towers>(GetParam(), [](Towers& model, const Side& side) {
    Trainer trainer(side, sgd_of(model.parameters()), model.named_parameters());
    for (int step = 0; step < kSteps; ++step) {
      trainer.zero_grad(/*set_to_none=*/false);
      for (int pass = 0; pass < 2; ++pass) {
        side.backward([&](int rank) {
          const auto loss = tower_loss(model, side, rank, step + pass);
          const auto slopes = torch::autograd::grad({loss}, {model.left->weight}, {}, true, true);
          return loss + slopes[0].square().sum();
        });
      }
      trainer.step();
    }
  });
}

TEST_P(Loop, ThatGetsParametersLater) {
  expect_same_training<Towers>(GetParam(), [](Towers& model, const Side& side) {
    std::vector<torch::Tensor> first = model.below->parameters();
    for (const auto& parameter : model.left->parameters()) first.push_back(parameter);
    Trainer trainer(side, sgd_of(first), model.named_parameters());
    for (int step = 0; step < kSteps; ++step) {
      if (step == 2) {
        trainer.plain().add_param_group(torch::optim::OptimizerParamGroup(model.right->parameters()));
        if (auto* const distributed = trainer.distributed()) {
          EXPECT_THROW(distributed->step(), std::invalid_argument);
          distributed->add_parameters(model.named_parameters());
          distributed->add_parameters(model.named_parameters());
        }
        model.zero_grad();
      }
      trainer.zero_grad();
      side.backward([&](int rank) { return tower_loss(model, side, rank, step); });
      trainer.step();
    }
  });
}

}  // namespace
}  // namespace hvd
