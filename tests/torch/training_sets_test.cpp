// Training among some of the ranks: process sets, and ranks whose data run out early.
#include <algorithm>

#include "tests/torch/same_training.h"

namespace hvd {
namespace {

class Sets : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Sets, testing::Values(1, 2, 3));

// Rank r has data for kSteps - r steps.
TEST_P(Sets, ARankWithoutDataJoins) {
  const int n = GetParam();
  expect_same_training<Towers>(n, [](Towers& model, const Side& side) {
    Trainer trainer(side, sgd_of(model.parameters()), model.named_parameters());
    const auto has_data = [](int rank, int step) { return step < kSteps - rank; };
    for (int step = 0; step < kSteps; ++step) {
      if (!side.is_alone() && !has_data(side.rank(), step)) break;
      trainer.zero_grad();
      side.backward([&](int rank) {
        if (!has_data(rank, step)) return torch::Tensor();
        const auto hidden = model.hidden(side.part(inputs_of(step), rank));
        return torch::mse_loss(model.left(hidden), side.part(targets_of(step), rank));
      });
      trainer.step();
    }
    if (side.is_alone()) return;
    const int last = join({.context = side.context()});
    EXPECT_EQ(last, 0);
    broadcast_parameters(model, last, {.context = side.context()});
  });
}

// Root ranks are those of the job, also where they are above the set's size.
void check_roots_of_state(torch::optim::Optimizer& optimizer, const ProcessSet& set,
                          const ContextPointer& context) {
  const auto rate = [&]() -> double { return optimizer.param_groups()[0].options().get_lr(); };
  for (int root = 0; root < 4; ++root) {
    const auto ranks = set.ranks();
    optimizer.param_groups()[0].options().set_lr(0.1 * (context->rank() + 1));
    if (std::find(ranks.begin(), ranks.end(), root) != ranks.end()) {
      broadcast_optimizer_state(optimizer, root, {.process_set = set, .context = context});
      EXPECT_EQ(rate(), 0.1 * (root + 1));
    } else {
      EXPECT_THROW(broadcast_optimizer_state(optimizer, root, {.process_set = set, .context = context}),
                   std::invalid_argument);
    }
    barrier({.context = context});  // one set after the other, as above
  }
}

// Two pairs of ranks, each with a model and data of its own.
TEST(TrainingSets, EachSetTrainsAModelOfItsOwn) {
  const auto loss_of_pair = [](torch::nn::Sequential& network, int pair, int step, int part, int parts) {
    const auto each = kBatch / parts;
    const auto cut = [&](const torch::Tensor& all) { return all.slice(0, each * part, each * (part + 1)); };
    return loss_of(network, cut(inputs_of(step + 10 * pair)), cut(targets_of(step + 10 * pair)));
  };
  std::vector<torch::nn::Sequential> alone;
  for (int pair = 0; pair < 2; ++pair) {
    alone.push_back(make_network());
    const auto sgd = sgd_of(alone.back()->parameters());
    for (int step = 0; step < kSteps; ++step) {
      sgd->zero_grad();
      loss_of_pair(alone.back(), pair, step, 0, 1).backward();
      sgd->step();
    }
  }
  on_ranks(4, [&](const ContextPointer& context) {
    const std::vector<ProcessSet> sets{add_process_set({0, 2}, context), add_process_set({1, 3}, context)};
    const int pair = context->rank() % 2;
    const ProcessSet& mine = sets[static_cast<std::size_t>(pair)];
    torch::nn::Sequential network = make_network();
    if (mine.rank() == 1) torch::nn::init::zeros_(network->parameters()[0]);
    broadcast_parameters(*network, pair, {.process_set = mine, .context = context});
    auto sgd = sgd_of(network->parameters());
    DistributedOptimizer optimizer(*sgd, network->named_parameters(),
                                   {.process_set = mine, .context = context});
    for (int step = 0; step < kSteps; ++step) {
      optimizer.zero_grad();
      loss_of_pair(network, pair, step, mine.rank(), 2).backward();
      optimizer.step();
    }
    const auto expected = alone[static_cast<std::size_t>(pair)]->parameters();
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(torch::allclose(network->parameters()[i], expected[i], 1e-11, 1e-12)) << i;
    }
    // One after the other: ThreadSanitizer does not see how LibTorch keeps threads that save archives apart.
    for (int turn = 0; turn < 2; ++turn) {
      if (pair == turn) broadcast_optimizer_state(*sgd, pair, {.process_set = mine, .context = context});
      barrier({.context = context});
    }
    check_roots_of_state(*sgd, mine, context);
    if (pair == 1) {
      EXPECT_THROW(DistributedOptimizer(*sgd, network->named_parameters(),
                                        {.process_set = sets[0], .context = context}),
                   std::invalid_argument);
    }
  });
}

}  // namespace
}  // namespace hvd
