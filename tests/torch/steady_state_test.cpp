// DistributedOptimizer once ranks reduce by a plan, in memory that they share: from the second regular step on.
#include <ATen/core/grad_mode.h>

#include "tests/torch/models.h"

namespace hvd {
namespace {

Config config_with(bool static_plan) {
  Config config = test_config();
  config.static_plan = static_plan;
  return config;
}

using Body = std::function<std::vector<torch::Tensor>(const ContextPointer&)>;

// What `body` returns on rank 0, with a plan and without: the same bits, or nearly so.
void expect_same_with_plan(int n, const Body& body, double tolerance = 0.0) {
  std::vector<std::vector<torch::Tensor>> results(2);
  for (const bool static_plan : {false, true}) {
    on_ranks(
        n,
        [&](const ContextPointer& context) {
          const std::vector<torch::Tensor> mine = body(context);
          if (context->rank() == 0) {
            for (const auto& tensor : mine) results[static_plan ? 1 : 0].push_back(tensor.clone());
          }
        },
        true, InprocWorld::Backend::shm, config_with(static_plan));
  }
  ASSERT_EQ(results[0].size(), results[1].size());
  for (std::size_t i = 0; i < results[0].size(); ++i) {
    const bool are_same = tolerance == 0.0 ? torch::equal(results[0][i], results[1][i])
                                           : torch::allclose(results[0][i], results[1][i], tolerance);
    EXPECT_TRUE(are_same) << n << " ranks, result " << i;
  }
}

std::vector<torch::Tensor> detached(const std::vector<torch::Tensor>& tensors) {
  std::vector<torch::Tensor> out;
  for (const auto& tensor : tensors) out.push_back(tensor.detach());
  return out;
}

// p.grad lies where it lay in the step before: a plan holds.
class Places {
 public:
  Places(const ContextPointer& context, std::vector<torch::Tensor> parameters)
      : has_plan_(context->session().config().static_plan), parameters_(std::move(parameters)) {}
  void expect_same_as_before(int step) {
    const std::vector<const void*> now = places();
    if (has_plan_) {
      EXPECT_EQ(now, before_) << "step " << step;
    }
    before_ = now;
  }
  void note() { before_ = places(); }

 private:
  std::vector<const void*> places() const {
    std::vector<const void*> out;
    for (const auto& parameter : parameters_) out.push_back(parameter.grad().data_ptr());
    return out;
  }
  bool has_plan_;
  std::vector<torch::Tensor> parameters_;
  std::vector<const void*> before_;
};

class SteadyState : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(SetToNone, SteadyState, testing::Bool());

TEST_P(SteadyState, GradientsLieInOneMemoryWhateverZeroGradDoes) {
  on_ranks(
      3,
      [](const ContextPointer& context) {
        auto network = make_network();
        torch::optim::SGD sgd(network->parameters(), 0.1);
        DistributedOptimizer optimizer(sgd, network->named_parameters(), {.context = context});
        std::vector<const void*> memory;
        for (int step = 0; step < 8; ++step) {
          optimizer.zero_grad(GetParam());
          loss_of(network, part(inputs_of(step), *context), part(targets_of(step), *context)).backward();
          std::vector<const void*> now;
          for (const auto& parameter : network->parameters()) now.push_back(parameter.grad().data_ptr());
          if (step == 2) memory = now;
          if (step > 2) {
            EXPECT_EQ(now, memory) << "step " << step;
          }
          optimizer.step();
        }
      },
      true, InprocWorld::Backend::shm, config_with(true));
}

// Odd sizes, nothing at all, a number; more than one chunk and one bucket.
struct Shapes : torch::nn::Module {
  explicit Shapes(torch::Dtype dtype) {
    const std::vector<std::vector<std::int64_t>> shapes{{7}, {}, {0, 3}, {600, 501}, {1}, {33, 5}, {131'072}};
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      register_parameter("p" + std::to_string(i), numbers(shapes[i], static_cast<double>(i)).to(dtype));
    }
  }
};

TEST(SteadyStates, AllTypesAndShapesAreReducedAsWithoutPlan) {
  for (const auto dtype : {torch::kFloat64, torch::kFloat32, torch::kBFloat16, torch::kFloat16}) {
    for (const int n : {2, 3, 5, 7}) {
      expect_same_with_plan(n, [&](const ContextPointer& context) {
        Shapes model(dtype);
        torch::optim::SGD sgd(model.parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
        DistributedOptimizer optimizer(sgd, model.named_parameters(),
                                       {.op = n == 3 ? Sum : Average, .context = context});
        Places places(context, {model.parameters()[0], model.parameters()[3]});
        for (int step = 0; step < 5; ++step) {
          optimizer.zero_grad(step % 2 == 0);
          torch::Tensor loss;
          double factor = 1.0 + context->rank() * 0.3 + step;
          for (const auto& parameter : model.parameters()) {
            const auto term = (parameter * parameter * (factor *= 1.1)).sum();
            loss = loss.defined() ? loss + term : term;
          }
          loss.backward();
          step < 3 ? places.note() : places.expect_same_as_before(step);
          optimizer.step();
        }
        return detached(model.parameters());
      });
    }
  }
}

TEST(SteadyStates, WhoKeepsAGradientKeepsItsValues) {
  on_ranks(2, [](const ContextPointer& context) {
    auto network = make_network();
    torch::optim::SGD sgd(network->parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, network->named_parameters(), {.context = context});
    torch::Tensor kept;
    torch::Tensor copy;
    for (int step = 0; step < 6; ++step) {
      optimizer.zero_grad();
      loss_of(network, inputs_of(step), targets_of(step)).backward();
      if (kept.defined()) {
        EXPECT_TRUE(torch::equal(kept, copy)) << "step " << step;
      }
      kept = network->parameters().front().grad();
      copy = kept.clone();
      optimizer.step();
    }
  });
}

// A table whose gradient is sparse in some steps.
struct Mixed : torch::nn::Module {
  Mixed() {
    table = register_parameter("table", numbers({10, 3}, 1));
    weight = register_parameter("weight", numbers({3}, 2));
  }
  torch::Tensor loss(int step, int rank, bool is_sparse) {
    const auto rows = torch::tensor({rank, 3, step % 10});
    return (torch::embedding(table, rows, -1, false, is_sparse) * weight).pow(2).sum();
  }
  torch::Tensor table;
  torch::Tensor weight;
};

// Rows that come in a round of their own are added in another order.
TEST(SteadyStates, ASparseGradientLeavesThePlanAndAnotherOneFollows) {
  for (const bool only_one_rank : {false, true}) {
    expect_same_with_plan(
        3,
        [&](const ContextPointer& context) {
          Mixed model;
          torch::optim::SGD sgd(model.parameters(), 0.01);
          DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
          Places places(context, {model.weight});
          std::vector<torch::Tensor> gradients;
          for (int step = 0; step < 16; ++step) {
            optimizer.zero_grad(step % 3 != 0);
            const bool is_sparse = (step == 3 || step == 8) && (!only_one_rank || context->rank() == 1);
            model.loss(step, context->rank(), is_sparse).backward();
            step == 2 || step == 7 || step == 15 ? places.expect_same_as_before(step) : places.note();
            gradients.push_back(model.table.grad().to_dense().clone());
            optimizer.step();
          }
          gradients.push_back(model.table.detach());
          return gradients;
        },
        1e-13);
  }
}

TEST(SteadyStates, AGradientOfAnotherTypeLeavesThePlan) {
  expect_same_with_plan(2, [](const ContextPointer& context) {
    auto network = make_network();
    network->to(torch::kFloat32);
    torch::optim::SGD sgd(network->parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, network->named_parameters(), {.context = context});
    std::vector<torch::Tensor> gradients;
    for (int step = 0; step < 8; ++step) {
      optimizer.zero_grad();
      auto weight = network->parameters().front();
      if (step == 3) weight.mutable_grad() = torch::zeros(weight.sizes(), torch::kFloat16);
      loss_of(network, part(inputs_of(step), *context).to(torch::kFloat32),
              part(targets_of(step), *context).to(torch::kFloat32))
          .backward();
      gradients.push_back(weight.grad().clone());
    }
    return gradients;
  });
}

TEST(SteadyStates, GradientsWithHistoryKeepIt) {
  expect_same_with_plan(2, [](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    std::vector<torch::Tensor> gradients;
    for (int step = 0; step < 6; ++step) {
      optimizer.zero_grad();
      const bool with_history = step > 2;
      const auto loss = model.a.pow(3).sum() * (1.0 + context->rank()) + model.b.pow(2).sum();
      loss.backward({}, c10::nullopt, with_history);
      EXPECT_EQ(model.a.grad().requires_grad(), with_history);
      gradients.push_back(model.a.grad().detach().clone());
      if (with_history) {
        const auto second = torch::autograd::grad({model.a.grad().sum()}, {model.a});
        gradients.push_back(second[0].clone());
      }
      optimizer.step();
    }
    return gradients;
  });
}

TEST(SteadyStates, AverageOnAverageOfSeveralBackwards) {
  expect_same_with_plan(3, [](const ContextPointer& context) {
    auto network = make_network();
    torch::optim::SGD sgd(network->parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, network->named_parameters(), {.context = context});
    for (int step = 0; step < 6; ++step) {
      if (step % 3 != 2) optimizer.zero_grad(step % 2 == 0);  // else the last step's average stays
      for (int pass = 0; pass <= step % 3; ++pass) {
        loss_of(network, part(inputs_of(3 * step + pass), *context), part(targets_of(step), *context))
            .backward();
      }
      optimizer.step();
    }
    return detached(network->parameters());
  });
}

TEST(SteadyStates, GradientsOutliveOptimizerAndSession) {
  std::vector<torch::Tensor> kept(2);
  on_ranks(2, [&](const ContextPointer& context) {
    auto network = make_network();
    torch::optim::SGD sgd(network->parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, network->named_parameters(), {.context = context});
    for (int step = 0; step < 4; ++step) {
      optimizer.zero_grad();
      loss_of(network, inputs_of(step), targets_of(step)).backward();
    }
    kept[static_cast<std::size_t>(context->rank())] = network->parameters().front().grad();
  });
  EXPECT_TRUE(torch::equal(kept[0], kept[1]));
  kept[0].zero_();
  EXPECT_GT(kept[1].abs().sum().item<double>(), 0.0);
}

// --- the norm that comes with the reduction ---

TEST(SteadyStates, ClippingIsThatOfTheGradientsAsTheyAre) {
  on_ranks(3, [](const ContextPointer& context) {
    auto network = make_network();
    torch::optim::SGD sgd(network->parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, network->named_parameters(), {.context = context, .clip_norm = 0.05});
    for (int step = 0; step < 9; ++step) {
      if (step != 5) optimizer.zero_grad(step % 2 == 0);
      loss_of(network, part(inputs_of(step), *context), part(targets_of(step), *context)).backward();
      if (step == 4) network->parameters()[1].mutable_grad().mul_(3.0);
      if (step == 6) network->parameters()[1].mutable_grad() = torch::ones({8}, torch::kFloat64);
      if (step == 7) network->parameters()[0].mutable_grad() = torch::Tensor();
      double squares = 0.0;
      for (const auto& parameter : network->parameters()) {
        if (parameter.grad().defined()) squares += parameter.grad().pow(2).sum().item<double>();
      }
      optimizer.step();
      EXPECT_NEAR(optimizer.last_gradient_norm(), std::sqrt(squares), 1e-12 * std::sqrt(squares))
          << "step " << step;
      double clipped = 0.0;
      for (const auto& parameter : network->parameters()) {
        if (parameter.grad().defined()) clipped += parameter.grad().pow(2).sum().item<double>();
      }
      EXPECT_LE(std::sqrt(clipped), 0.05 + 1e-12) << "step " << step;
    }
  });
}

// The usual ways to scale gradients in C++ go past the version that autograd keeps.
TEST(SteadyStates, ClippingSeesGradientsThatWereScaledThroughData) {
  std::vector<torch::Tensor> moved(2);
  on_ranks(2, [&](const ContextPointer& context) {
    auto network = make_network();
    network->to(torch::kFloat32);
    torch::optim::SGD sgd(network->parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, network->named_parameters(), {.context = context, .clip_norm = 1.0});
    for (int step = 0; step < 5; ++step) {
      optimizer.zero_grad();
      (loss_of(network, part(inputs_of(step), *context).to(torch::kFloat32),
               part(targets_of(step), *context).to(torch::kFloat32)) *
       65536)
          .backward();
      double squares = 0;
      for (auto& parameter : network->parameters()) {
        parameter.mutable_grad().data().div_(65536);
        squares += parameter.grad().to(torch::kFloat64).pow(2).sum().item<double>();
      }
      // No change, but another version, on one rank only.
      if (context->rank() == 1) network->parameters()[1].mutable_grad().mul_(1);
      optimizer.step();
      EXPECT_NEAR(optimizer.last_gradient_norm(), std::sqrt(squares), 1e-6 * std::sqrt(squares));
    }
    moved[static_cast<std::size_t>(context->rank())] = network->parameters()[0].detach().clone();
  });
  EXPECT_TRUE(torch::equal(moved[0], moved[1])) << "ranks differ";
}

}  // namespace
}  // namespace hvd
