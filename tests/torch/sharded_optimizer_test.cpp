#include <sstream>

#include "bindings/torch/shard_plan.h"
#include "tests/torch/odd_model.h"

namespace hvd {
namespace {

template <class Distributed>
void train(Distributed& optimizer, Odd& model, const Context& context, int from, int to) {
  for (int step = from; step < to; ++step) {
    optimizer.zero_grad(step % 2 == 0);
    model.loss(context.rank(), step).backward();
    if (step == 3) set_learning_rate(optimizer.get(), 0.002);
    optimizer.step();
  }
}

std::string saved(torch::optim::Optimizer& optimizer) {
  std::ostringstream out;
  torch::save(optimizer, out);
  return out.str();
}
void load(torch::optim::Optimizer& optimizer, const std::string& bytes) {
  std::istringstream in(bytes);
  torch::load(optimizer, in);
}

struct Start {
  Tensors values;  // none: the model's own
  std::string optimizer;
};

// [rank] the parameters after these steps.
template <class Distributed>
std::vector<Tensors> trained(int n, const std::string& kind, int from, int to, double clip_norm = 0,
                             const Start& start = {}) {
  std::vector<Tensors> results(static_cast<std::size_t>(n));
  on_ranks(n, [&](const ContextPointer& context) {
    Odd model;
    auto plain = two_groups(kind, model);
    if (!start.values.empty()) {
      set(model.parameters(), start.values);
      load(*plain, start.optimizer);
    }
    Distributed optimizer(std::move(plain), model.named_parameters(),
                          {.context = context, .clip_norm = clip_norm});
    train(optimizer, model, *context, from, to);
    results[static_cast<std::size_t>(context->rank())] = copies_of(model.parameters());
  });
  return results;
}

std::size_t bytes_of_moments(const torch::optim::Optimizer& optimizer) {
  std::size_t bytes = 0;
  for (const auto& [parameter, state] : optimizer.state()) {
    const auto& of = static_cast<const torch::optim::AdamWParamState&>(*state);
    bytes += of.exp_avg().nbytes() + of.exp_avg_sq().nbytes();
  }
  return bytes;
}

class Sharded : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Sharded, testing::Values(1, 2, 3, 7));

void expect_same_on_all(const std::vector<Tensors>& got, const Tensors& expected, const std::string& what) {
  for (std::size_t rank = 0; rank < got.size(); ++rank)
    expect_same_bits(got[rank], expected, what + ", rank " + std::to_string(rank));
}

TEST_P(Sharded, TrainsToTheSameBitsAsTheWholeOne) {
  const int n = GetParam();
  for (const std::string kind : {"SGD", "Adam", "AdamW", "RMSprop"}) {
    for (const double clip_norm : {0.0, 0.5}) {
      const Tensors expected = trained<DistributedOptimizer>(n, kind, 0, 6, clip_norm).front();
      expect_same_on_all(trained<ShardedOptimizer>(n, kind, 0, 6, clip_norm), expected, kind);
      EXPECT_FALSE(torch::equal(expected.front(), Odd().wide));
      EXPECT_TRUE(torch::equal(expected.back(), Odd().unused));
    }
  }
}

TEST_P(Sharded, DividesTheState) {
  const int n = GetParam();
  on_ranks(n, [&](const ContextPointer& context) {
    Odd model;
    ShardedOptimizer optimizer(make_optimizer("AdamW", model.parameters()), model.named_parameters(),
                               {.context = context});
    train(optimizer, model, *context, 0, 1);
    std::size_t all = 0;
    for (const torch::Tensor& parameter : {model.wide, model.odd, model.one, model.precise})
      all += 2 * parameter.nbytes();
    const std::size_t own = bytes_of_moments(optimizer.get());
    EXPECT_LE(own, all / static_cast<std::size_t>(n) + 4096);
    EXPECT_GE(own + 4096, all / static_cast<std::size_t>(n));
  });
}

// From a checkpoint of three ranks on n ranks, and of the whole optimizer: as if nothing had been.
TEST_P(Sharded, GoesOnFromACheckpoint) {
  const int n = GetParam();
  for (const std::string kind : {"SGD", "Adam", "AdamW", "RMSprop"}) {
    Start start;
    on_ranks(3, [&](const ContextPointer& context) {
      Odd model;
      ShardedOptimizer optimizer(two_groups(kind, model), model.named_parameters(), {.context = context});
      train(optimizer, model, *context, 0, 4);
      const auto whole = optimizer.gather(1);
      ASSERT_EQ(whole != nullptr, context->rank() == 1);
      if (whole) start = {copies_of(model.parameters()), saved(*whole)};
    });
    const Tensors expected = trained<DistributedOptimizer>(n, kind, 4, 7, 0, start).front();
    expect_same_on_all(trained<ShardedOptimizer>(n, kind, 4, 7, 0, start), expected, kind);
  }
}

TEST_P(Sharded, GathersWhatTheWholeOneHas) {
  const int n = GetParam();
  std::string expected;
  on_ranks(n, [&](const ContextPointer& context) {
    Odd model;
    DistributedOptimizer optimizer(two_groups("AdamW", model), model.named_parameters(),
                                   {.context = context});
    train(optimizer, model, *context, 0, 4);
    if (context->rank() == 0) expected = saved(optimizer.get());
  });
  on_ranks(n, [&](const ContextPointer& context) {
    Odd model;
    ShardedOptimizer optimizer(two_groups("AdamW", model), model.named_parameters(), {.context = context});
    train(optimizer, model, *context, 0, 4);
    const auto whole = optimizer.gather();
    if (!whole) return;
    // The archive of a model without `none` has no state for it: compared by what is there.
    auto reference = two_groups("AdamW", model);
    load(*reference, expected);
    for (const torch::Tensor& parameter : model.parameters()) {
      const auto* const impl = parameter.unsafeGetTensorImpl();
      const auto found = reference->state().find(const_cast<c10::TensorImpl*>(impl));
      if (found == reference->state().end() || parameter.numel() == 0) continue;
      const auto& a = static_cast<torch::optim::AdamWParamState&>(*found->second);
      const auto& b =
          static_cast<torch::optim::AdamWParamState&>(*whole->state().at(const_cast<c10::TensorImpl*>(impl)));
      EXPECT_EQ(a.step(), b.step());
      EXPECT_TRUE(torch::equal(a.exp_avg(), b.exp_avg()));
      EXPECT_TRUE(torch::equal(a.exp_avg_sq(), b.exp_avg_sq()));
      EXPECT_FALSE(b.max_exp_avg_sq().defined());
    }
    EXPECT_EQ(whole->param_groups().at(1).options().get_lr(), 0.002);
  });
}

TEST(ShardedOptimizer, TakesAClosureAndAnAccumulatedStep) {
  on_ranks(2, [](const ContextPointer& context) {
    Odd model;
    Odd reference;
    ShardedOptimizer optimizer(make_optimizer("AdamW", model.parameters()), model.named_parameters(),
                               {.context = context});
    DistributedOptimizer whole(make_optimizer("AdamW", reference.parameters()), reference.named_parameters(),
                               {.context = context});
    const auto both = [&](const auto& body) {
      body(optimizer, model);
      body(whole, reference);
    };
    both([&](auto& of, Odd& on) {
      const auto loss = of.step([&] {
        of.zero_grad();
        auto loss = on.loss(context->rank(), 1);
        loss.backward();
        return loss;
      });
      EXPECT_TRUE(loss.defined());
    });
    both([&](auto& of, Odd& on) {
      of.zero_grad();
      {
        const auto guard = of.no_sync();
        on.loss(context->rank(), 2).backward();
      }
      on.loss(context->rank(), 3).backward();
      of.step();
    });
    expect_same_bits(model.parameters(), reference.parameters());
  });
}

TEST(ShardedOptimizer, DropsAStepWhoseBackwardFailed) {
  on_ranks(3, [](const ContextPointer& context) {
    Odd model;
    ShardedOptimizer optimizer(make_optimizer("AdamW", model.parameters()), model.named_parameters(),
                               {.context = context});
    train(optimizer, model, *context, 0, 3);
    const Tensors before = copies_of(model.parameters());
    optimizer.zero_grad();
    const bool breaks = context->rank() == 1;
    // What is computed first runs last in backward: some gradients were on their way.
    const auto broken = Fragile::apply(model.odd, breaks).sum();
    auto loss = model.loss(context->rank(), 3) + broken;
    if (breaks) {
      EXPECT_THROW(loss.backward(), std::runtime_error);
    } else {
      EXPECT_THROW(loss.backward(), StepDiscarded);
    }
    optimizer.step();
    expect_same_bits(model.parameters(), before);
    train(optimizer, model, *context, 4, 5);
    EXPECT_FALSE(torch::equal(model.wide, before[0]));
  });
}

TEST(ShardedOptimizer, WorksAmongTheMembersOfAProcessSet) {
  on_ranks(3, [](const ContextPointer& context) {
    const ProcessSet ends = add_process_set({0, 2}, context);
    if (context->rank() == 1) return;
    Odd model;
    Odd reference;
    const DistributedOptimizerOptions options{.process_set = ends, .context = context};
    ShardedOptimizer optimizer(make_optimizer("Adam", model.parameters()), model.named_parameters(), options);
    DistributedOptimizer whole(make_optimizer("Adam", reference.parameters()), reference.named_parameters(),
                               options);
    train(optimizer, model, *context, 0, 3);
    train(whole, reference, *context, 0, 3);
    expect_same_bits(model.parameters(), reference.parameters());
    const auto gathered = optimizer.gather(2);
    EXPECT_EQ(gathered != nullptr, context->rank() == 2);
  });
}

// Whose steps alternate: each trains as it would alone.
TEST(ShardedOptimizer, IsNotMixedUpWithAnother) {
  on_ranks(2, [](const ContextPointer& context) {
    Odd a;
    Odd b;
    ShardedOptimizer of_a(two_groups("Adam", a), a.named_parameters(), {.context = context});
    ShardedOptimizer of_b(two_groups("SGD", b), b.named_parameters(), {.context = context});
    for (int step = 0; step < 4; ++step) {
      train(of_a, a, *context, step, step + 1);
      train(of_b, b, *context, step, step + 1);
    }
    Odd alone;
    ShardedOptimizer of_alone(two_groups("Adam", alone), alone.named_parameters(), {.context = context});
    train(of_alone, alone, *context, 0, 4);
    expect_same_bits(a.parameters(), alone.parameters());
    EXPECT_FALSE(torch::equal(a.wide, b.wide));
  });
}

// --- the plan ---

TEST(ShardPlan, GivesEachElementToOneRank) {
  const std::vector<ShardItem> items{{1000, 0}, {0, 0}, {64, 1}, {1, 0}, {70'001, 0}, {63, 1}};
  for (const std::size_t size : {1U, 2U, 3U, 5U, 100U}) {
    std::vector<std::vector<int>> owners;
    for (const ShardItem& item : items) owners.emplace_back(item.count, 0);
    for (std::size_t rank = 0; rank < size; ++rank) {
      const ShardPlan plan = plan_shards(items, 2, rank, size, 1024);
      for (const ShardPiece& piece : plan.pieces) {
        EXPECT_GE(piece.count, 1U);
        EXPECT_LE(piece.count, 1024U);
        const auto& bounds = plan.bounds[items[piece.item].pool];
        EXPECT_GE(plan.begin[piece.item] + piece.begin, bounds[rank]);
        EXPECT_LE(plan.begin[piece.item] + piece.begin + piece.count, bounds[rank + 1]);
        for (std::size_t i = 0; i < piece.count; ++i) ++owners[piece.item].at(piece.begin + i);
      }
    }
    for (const auto& item : owners)
      EXPECT_TRUE(std::all_of(item.begin(), item.end(), [](int n) { return n == 1; }));
  }
}

}  // namespace
}  // namespace hvd
