// How the steady state of a DistributedOptimizer ends when a rank goes, or does not come.
#include "tests/torch/models.h"

namespace hvd {
namespace {

Config with_plan() {
  Config config = test_config();
  config.static_plan = true;
  return config;
}

// A plan holds then.
void reach_steady_state(DistributedOptimizer& optimizer, const std::function<void()>& backward) {
  for (int step = 0; step < 3; ++step) {
    optimizer.zero_grad();
    backward();
    optimizer.step();
  }
}

// The call says why this rank waits in vain.
void expect_told(const std::function<void()>& call, const std::string& words) {
  try {
    call();
    FAIL() << "nothing was thrown";
  } catch (const WorldError& error) {
    EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
  }
}

TEST(SteadyStates, ARankThatDestroysItsOptimizerIsNamed) {
  on_ranks(
      3,
      [](const ContextPointer& context) {
        auto network = make_network();
        torch::optim::SGD sgd(network->parameters(), 0.1);
        std::optional<DistributedOptimizer> optimizer;
        optimizer.emplace(sgd, network->named_parameters(), DistributedOptimizerOptions{.context = context});
        const auto backward = [&] { loss_of(network, inputs_of(0), targets_of(0)).backward(); };
        reach_steady_state(*optimizer, backward);
        if (context->rank() == 2) {
          optimizer.reset();
          backward();
          return;
        }
        optimizer->zero_grad();
        expect_told(backward, "rank 2 has destroyed its DistributedOptimizer");
        for (const auto& parameter : network->parameters()) {
          if (parameter.grad().defined()) {
            EXPECT_EQ(parameter.grad().abs().sum().item<double>(), 0.0);
          }
        }
      },
      true, InprocWorld::Backend::shm, with_plan());
}

TEST(SteadyStates, ARankThatShutsDownIsNamed) {
  on_ranks(
      3,
      [](const ContextPointer& context) {
        auto network = make_network();
        torch::optim::SGD sgd(network->parameters(), 0.1);
        DistributedOptimizer optimizer(sgd, network->named_parameters(), {.context = context});
        const auto backward = [&] { loss_of(network, inputs_of(0), targets_of(0)).backward(); };
        reach_steady_state(optimizer, backward);
        if (context->rank() != 1) {
          expect_told(backward, "rank 1 has shut down");
        }
        EXPECT_TRUE(context->session().shutdown(Deadline::after(kTestDeadline)).is_ok());
      },
      true, InprocWorld::Backend::shm, with_plan());
}

TEST(SteadyStates, ARankThatStaysAwayIsReportedAndEndsTheJobIfAsked) {
  Config config = with_plan();
  config.stall_warning = std::chrono::seconds(1);
  config.stall_shutdown = std::chrono::seconds(2);
  testing::internal::CaptureStderr();
  on_ranks(
      2,
      [](const ContextPointer& context) {
        auto network = make_network();
        torch::optim::SGD sgd(network->parameters(), 0.1);
        DistributedOptimizer optimizer(sgd, network->named_parameters(), {.context = context});
        const auto backward = [&] { loss_of(network, inputs_of(0), targets_of(0)).backward(); };
        reach_steady_state(optimizer, backward);
        if (context->rank() == 0)
          expect_told(backward, "rank 1, which still has to produce 4 of 4 gradients");
        while (context->session().status().is_ok()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      },
      /*ends_well=*/false, InprocWorld::Backend::shm, config);
  const std::string output = testing::internal::GetCapturedStderr();
  EXPECT_NE(output.find("at the end of a backward (optimizer 0) for rank 1"), std::string::npos) << output;
}

// --- a backward that throws ---

struct OneLayer {
  explicit OneLayer(const ContextPointer& context)
      : sgd((fill(*prepared(layer)), layer->parameters()), 0.1),
        optimizer(sgd, layer->named_parameters(), {.context = context}) {}
  static torch::nn::Linear& prepared(torch::nn::Linear& linear) {
    linear->to(torch::kFloat64);
    return linear;
  }
  // The bias has its gradient before the weight's backward breaks.
  void backward(int step, bool breaks) {
    const auto input = Fragile::apply(layer->weight, breaks);
    ((input * numbers({2, 4}, step)).sum() + layer->bias.sum() * (step + 1)).backward();
  }
  torch::nn::Linear layer{4, 2};
  torch::optim::SGD sgd;
  DistributedOptimizer optimizer;
};

TEST(SteadyStates, ADroppedStepEndsWhetherStepIsCalledOrNot) {
  std::vector<torch::Tensor> moved(2);
  on_ranks(2, [&](const ContextPointer& context) {
    OneLayer model(context);
    for (int step = 0; step < 8; ++step) {
      model.layer->zero_grad();
      try {
        model.backward(step, step == 4 && context->rank() == 0);
      } catch (const std::runtime_error&) {
        if (context->rank() == 1) continue;
      }
      model.optimizer.step();
    }
    moved[static_cast<std::size_t>(context->rank())] = model.layer->bias.detach().clone();
  });
  EXPECT_TRUE(torch::equal(moved[0], moved[1])) << "a step was lost on one rank";
}

TEST(SteadyStates, AKeptGradientSurvivesADroppedStep) {
  on_ranks(2, [](const ContextPointer& context) {
    OneLayer model(context);
    for (int step = 0; step < 4; ++step) {
      model.optimizer.zero_grad();
      model.backward(step, false);
      model.optimizer.step();
    }
    const auto kept = model.layer->weight.grad();
    const auto copy = kept.clone();
    model.optimizer.zero_grad();
    EXPECT_THROW(model.backward(5, context->rank() == 0), std::runtime_error);
    model.optimizer.step();
    EXPECT_TRUE(torch::equal(kept, copy));
  });
}

// Ranks have seen different last rounds when a join ends, and must open the next plan in the same one.
TEST(SteadyStates, AJoinAfterALeaveIsFollowedByAPlanOfAll) {
  on_ranks(
      2,
      [](const ContextPointer& context) {
        TwoWeights model;
        torch::optim::SGD sgd(model.parameters(), 0.01);
        DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
        const auto train = [&](int steps, bool leaves) {
          for (int step = 0; step < steps; ++step) {
            optimizer.zero_grad();
            if (leaves && step == steps - 1) {
              model.a.mutable_grad() = torch::zeros({3}, torch::kFloat32);
            }
            (model.a.sum() + model.b.sum()).backward();
            optimizer.step();
          }
        };
        for (int round = 0; round < 3; ++round) {
          train(4, false);
          if (context->rank() == 1) train(1, true);
          join({.context = context});
        }
        const void* before = nullptr;
        for (int step = 0; step < 4; ++step) {
          train(1, false);
          if (step == 3) {
            EXPECT_EQ(model.b.grad().data_ptr(), before);
          }
          before = model.b.grad().data_ptr();
        }
      },
      true, InprocWorld::Backend::shm, with_plan());
}

}  // namespace
}  // namespace hvd
