// Every optimizer of LibTorch, trained on ranks as on one process, and its state brought to all ranks.
#include "tests/torch/models.h"
#include "tests/torch/optimizers.h"

namespace hvd {
namespace {

torch::Tensor take_step(const std::function<torch::Tensor(const std::function<torch::Tensor()>&)>& step,
                        const std::function<void()>& zero_grad, const std::function<torch::Tensor()>& loss,
                        bool with_closure) {
  const auto evaluate = [&] {
    zero_grad();
    auto value = loss();
    value.backward();
    return value;
  };
  if (with_closure) return step(evaluate);
  evaluate();
  return step(nullptr);
}

constexpr int kSteps = 12;

// Trains `network` with one process's loop.
void train_alone(torch::nn::Sequential& network, torch::optim::Optimizer& optimizer, int from, int to) {
  for (int step = from; step < to; ++step) {
    take_step([&](const auto& closure) { return optimizer.step(closure); }, [&] { optimizer.zero_grad(); },
              [&] { return loss_of(network, inputs_of(step), targets_of(step)); }, needs_closure(optimizer));
  }
}

void train_on_ranks(const Context& context, torch::nn::Sequential& network, DistributedOptimizer& optimizer,
                    int from, int to) {
  for (int step = from; step < to; ++step) {
    take_step(
        [&](const auto& closure) { return optimizer.step(closure); }, [&] { optimizer.zero_grad(); },
        [&] { return loss_of(network, part(inputs_of(step), context), part(targets_of(step), context)); },
        needs_closure(optimizer.get()));
  }
}

class EveryOptimizer : public testing::TestWithParam<std::tuple<const char*, int>> {};
INSTANTIATE_TEST_SUITE_P(OfLibTorch, EveryOptimizer,
                         testing::Combine(testing::Values("SGD", "Adam", "AdamW", "Adagrad", "RMSprop",
                                                          "LBFGS"),
                                          testing::Values(1, 2, 3)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) + "On" +
                                  std::to_string(std::get<1>(info.param));
                         });

TEST_P(EveryOptimizer, TrainsAsOnOneProcess) {
  const auto& [kind, n] = GetParam();
  auto alone = make_network();
  const auto start = make_network()->parameters();
  train_alone(alone, *make_optimizer(kind, alone->parameters()), 0, kSteps);
  std::vector<std::vector<torch::Tensor>> trained(static_cast<std::size_t>(n));
  on_ranks(n, [&, kind = kind](const ContextPointer& context) {
    auto network = make_network();
    DistributedOptimizer optimizer(make_optimizer(kind, network->parameters()), network->named_parameters(),
                                   {.context = context});
    train_on_ranks(*context, network, optimizer, 0, kSteps);
    trained[static_cast<std::size_t>(context->rank())] = network->parameters();
  });
  for (const auto& parameters : trained) {
    expect_close(parameters, alone->parameters(), 1e-8);
    expect_same_bits(parameters, trained[0]);
    EXPECT_FALSE(torch::allclose(parameters[0], start[0], 1e-3, 1e-3)) << "nothing was learned";
  }
}

// Root resumes with a state, the others start without one, or with a wrong one: training goes on as if nothing had happened.
TEST_P(EveryOptimizer, ResumesFromTheStateOfTheRoot) {
  const auto& [kind, n] = GetParam();
  constexpr int kHalf = kSteps / 2;
  auto alone = make_network();
  const auto plain = make_optimizer(kind, alone->parameters());
  train_alone(alone, *plain, 0, kHalf);
  set_learning_rate(*plain, 0.03);
  const std::vector<torch::Tensor> at_half = copies_of(alone->parameters());
  train_alone(alone, *plain, kHalf, kSteps);

  on_ranks(n, [&, kind = kind, n = n](const ContextPointer& context) {
    const int root = n - 1;
    auto network = make_network();
    auto optimizer = make_optimizer(kind, network->parameters());
    if (context->rank() == root) {
      train_alone(network, *optimizer, 0, kHalf);
      set_learning_rate(*optimizer, 0.03);
    } else if (context->rank() == 1) {
      train_alone(network, *optimizer, 3, 5);
    }
    set(network->parameters(), at_half);
    broadcast_optimizer_state(*optimizer, root, {.context = context});
    expect_same_bits(network->parameters(), at_half, "a step was taken");
    EXPECT_DOUBLE_EQ(optimizer->param_groups()[0].options().get_lr(), 0.03);
    DistributedOptimizer distributed(std::move(optimizer), network->named_parameters(), {.context = context});
    train_on_ranks(*context, network, distributed, kHalf, kSteps);
    expect_close(network->parameters(), alone->parameters(), 1e-8);
  });
}

TEST_P(EveryOptimizer, StateOfARootThatHasNoneClearsThatOfOthers) {
  const auto& [kind, n] = GetParam();
  auto alone = make_network();
  train_alone(alone, *make_optimizer(kind, alone->parameters()), 0, 3);
  on_ranks(n, [&, kind = kind](const ContextPointer& context) {
    auto network = make_network();
    auto optimizer = make_optimizer(kind, network->parameters());
    if (context->rank() > 0) train_alone(network, *optimizer, 5, 7);
    fill(*network);
    broadcast_optimizer_state(*optimizer, 0, {.context = context});
    DistributedOptimizer distributed(std::move(optimizer), network->named_parameters(), {.context = context});
    train_on_ranks(*context, network, distributed, 0, 3);
    expect_close(network->parameters(), alone->parameters(), 1e-8);
  });
}

TEST(OptimizerState, OfDifferentOptimizersIsRefusedOnEveryRank) {
  on_ranks(3, [](const ContextPointer& context) {
    auto network = make_network();
    const auto optimizer = make_optimizer(context->rank() == 1 ? "SGD" : "Adam", network->parameters());
    const std::string told =
        message_of<MismatchError>([&] { broadcast_optimizer_state(*optimizer, 0, {.context = context}); });
    EXPECT_NE(told.find("ranks differ in the kind of optimizer"), std::string::npos) << told;
    EXPECT_TRUE(optimizer->state().empty());
  });
}

TEST(OptimizerState, OfParametersInOtherGroupsIsRefusedOnEveryRank) {
  on_ranks(2, [](const ContextPointer& context) {
    TwoWeights model;
    std::vector<torch::optim::OptimizerParamGroup> groups;
    if (context->rank() == 0) {
      groups.emplace_back(std::vector<torch::Tensor>{model.a, model.b});
    } else {
      groups.emplace_back(std::vector<torch::Tensor>{model.a});
      groups.emplace_back(std::vector<torch::Tensor>{model.b});
    }
    torch::optim::SGD sgd(groups, torch::optim::SGDOptions(0.1));
    EXPECT_THROW(broadcast_optimizer_state(sgd, 0, {.context = context}), MismatchError);
  });
}

struct Unsavable : torch::optim::SGD {
  using SGD::SGD;
  void save(torch::serialize::OutputArchive&) const override { throw std::runtime_error("no save for me"); }
};

TEST(OptimizerState, ThatCannotBeSavedIsToldOnEveryRank) {
  on_ranks(2, [](const ContextPointer& context) {
    TwoWeights model;
    Unsavable sgd(model.parameters(), torch::optim::SGDOptions(0.1));
    if (context->rank() == 0) {
      const std::string told =
          message_of<std::invalid_argument>([&] { broadcast_optimizer_state(sgd, 0, {.context = context}); });
      EXPECT_NE(told.find("no save for me"), std::string::npos) << told;
    } else {
      EXPECT_THROW(broadcast_optimizer_state(sgd, 0, {.context = context}), MismatchError);
    }
    EXPECT_THROW(broadcast_optimizer_state(sgd, 2, {.context = context}), std::invalid_argument);
  });
}

}  // namespace
}  // namespace hvd
