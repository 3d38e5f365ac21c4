// What is said to wrong calls: at the call if one rank can tell, otherwise on every rank. Nothing is broken by any of them.
#include <limits>
#include <optional>

#include "tests/torch/models.h"
#include "tests/torch/optimizers.h"

namespace hvd {
namespace {

using Call = std::function<void()>;

struct Mistake {
  std::string words;
  Call call;
};

// After each of them the ranks still agree.
void expect_world_is_well(const ContextPointer& context) {
  EXPECT_EQ(allreduce(torch::ones({1}), {.op = Sum, .context = context}).item<float>(), context->size());
}

// Only this rank makes them, and it is told who, what and which tensor.
void expect_told_at_the_call(const ContextPointer& context, const std::vector<Mistake>& mistakes) {
  for (const auto& [words, call] : mistakes) {
    if (context->rank() == 1) {
      const std::string told = message_of<std::invalid_argument>(call);
      EXPECT_TRUE(told.starts_with("rank 1, ")) << told;
      EXPECT_NE(told.find(words), std::string::npos) << "expected: " << words << "\ngot: " << told;
    }
    expect_world_is_well(context);
  }
}

TEST(WrongCalls, OfAReductionSayWhatWasExpected) {
  on_ranks(2, [](const ContextPointer& context) {
    const auto named = [&](AllreduceOptions options = {}) {
      options.name = "x";
      options.context = context;
      return options;
    };
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const double infinite = std::numeric_limits<double>::infinity();
    const auto floats = torch::ones({2});
    expect_told_at_the_call(
        context,
        {{"allreduce 'x': the tensor is undefined", [&] { allreduce(torch::Tensor(), named()); }},
         {"allreduce 'x': tensors of type ComplexFloat cannot be communicated; the types are ",
          [&] { allreduce(torch::ones({2}, torch::kComplexFloat), named()); }},
         {"pass torch::view_as_real of it",
          [&] { allreduce(torch::ones({2}, torch::kComplexFloat), named()); }},
         {"allreduce 'x': the tensor is sparse: only dense tensors can be communicated; use .to_dense()",
          [&] { allreduce(torch::ones({2, 2}).to_sparse(), named()); }},
         {"allreduce 'x': a tensor on device meta cannot be communicated: expected cpu or cuda",
          [&] { allreduce(torch::ones({2}, torch::kMeta), named()); }},
         {"allreduce 'x': an expanded tensor cannot be written in place: pass .contiguous()",
          [&] { allreduce_(torch::ones({1}).expand({4}), named()); }},
         {"allreduce 'x': the average of bool is not defined; use sum and divide, or a floating type",
          [&] { allreduce(torch::tensor({true}), named()); }},
         {"allreduce 'x': scale factors need a floating type, got int64",
          [&] { allreduce(torch::tensor({1}, torch::kInt64), named({.op = Sum, .prescale = 0.5})); }},
         {"allreduce 'x': prescale factor nan and postscale factor 1 must be finite numbers",
          [&] { allreduce(floats, named({.prescale = nan})); }},
         {"allreduce 'x': prescale factor 1 and postscale factor inf must be finite numbers",
          [&] { allreduce(floats, named({.postscale = infinite})); }},
         {"reducescatter 'x': a 0-d tensor cannot be scattered: it needs a first dimension",
          [&] { reducescatter(torch::tensor(1.0), named()); }}});
  });
}

TEST(WrongCalls, OfOtherOperationsSayWhatWasExpected) {
  on_ranks(2, [](const ContextPointer& context) {
    const CollectiveOptions named{.name = "x", .context = context};
    const auto exchange = [&](std::int64_t rows, const std::vector<std::int64_t>& splits) {
      return [=] { alltoall(torch::ones({rows}), splits, named); };
    };
    expect_told_at_the_call(
        context,
        {{"broadcast 'x': root rank 2: expected 0 to 1", [&] { broadcast(torch::ones({1}), 2, named); }},
         {"broadcast 'x': root rank -1: expected 0 to 1", [&] { broadcast(torch::ones({1}), -1, named); }},
         {"alltoall 'x': splits [2, 2] make 4 rows, but the tensor has 2", exchange(2, {2, 2})},
         {"alltoall 'x': shape [3]: its 3 rows cannot be divided evenly among 2 ranks; pass splits",
          exchange(3, {})},
         {"alltoall 'x': 1 split sizes, expected 2", exchange(2, {2})},
         {"alltoall 'x': split sizes [-1, 3]: one is negative", exchange(2, {-1, 3})}});
  });
}

TEST(WrongCalls, OfAPendingNameAreToldAtTheCall) {
  on_ranks(2, [](const ContextPointer& context) {
    std::optional<Handle> pending;
    const AllreduceOptions named{.name = "x", .context = context};
    if (context->rank() == 1) pending = allreduce_async(torch::ones({2}), named);
    expect_told_at_the_call(
        context,
        {{"allreduce 'x': submitted again before the first submission was complete; wait for it, or use "
          "another name",
          [&] { allreduce_async(torch::ones({2}), named); }},
         {"allreduce 'x': declared with other properties while an operation of this name is pending; wait "
          "for that one first, or use another name",
          [&] { allreduce_async(torch::ones({3}), named); }}});
    if (context->rank() == 0) pending = allreduce_async(torch::ones({2}), named);
    EXPECT_TRUE(torch::equal(pending->wait(), torch::ones({2})));
  });
}

TEST(WrongCalls, WithAProcessSetAreToldAtTheCall) {
  on_ranks(3, [](const ContextPointer& context) {
    const ProcessSet others = add_process_set({0, 2}, context);
    const ProcessSet gone = add_process_set({0, 1}, context);
    remove_process_set(gone, context);
    expect_told_at_the_call(
        context,
        {{": this rank is not a member; the members are ranks 0, 2",
          [&] { allreduce(torch::ones({2}), {.name = "x", .process_set = others, .context = context}); }},
         {": there is no process set ",
          [&] { allreduce(torch::ones({2}), {.name = "x", .process_set = gone, .context = context}); }},
         {": ranks [0, 3]: expected 0 to 2", [&] { add_process_set({0, 3}, context); }},
         {": ranks [1, 1]: expected ascending, each once", [&] { add_process_set({1, 1}, context); }},
         {": a process set needs at least one rank", [&] { add_process_set({}, context); }},
         {": the set of all ranks cannot be removed", [&] { remove_process_set({}, context); }}});
    const std::string told = message_of<std::invalid_argument>([&] { gone.ranks(); });
    EXPECT_NE(told.find("it was removed, or is from before hvd::shutdown()"), std::string::npos) << told;
  });
}

// `call` differs on rank 1; every rank is told the same.
void expect_told_on_every_rank(const ContextPointer& context, const std::vector<Mistake>& mistakes) {
  for (const auto& [words, call] : mistakes) {
    const std::string told = message_of<MismatchError>(call);
    EXPECT_NE(told.find(words), std::string::npos) << "expected: " << words << "\ngot: " << told;
    expect_world_is_well(context);
  }
}

TEST(Disagreements, OfEachKindAreToldOnEveryRank) {
  on_ranks(3, [](const ContextPointer& context) {
    const bool odd = context->rank() == 1;
    const auto reduce = [&](AllreduceOptions options, const torch::Tensor& tensor) {
      options.name = "w";
      options.context = context;
      return [=] { allreduce(tensor, options); };
    };
    const CollectiveOptions named{.name = "w", .context = context};
    const auto ones = torch::ones({2});
    expect_told_on_every_rank(
        context,
        {{"allreduce 'w': ranks disagree on shape: ranks 0, 2 have [2]; rank 1 has [3]. Submit the same "
          "shape on every "
          "rank.",
          reduce({}, torch::ones({odd ? 3 : 2}))},
         {"ranks disagree on dtype: ranks 0, 2 have float32; rank 1 has float64",
          reduce({}, torch::ones({2}, odd ? torch::kFloat64 : torch::kFloat32))},
         {"ranks disagree on reduction: ranks 0, 2 have sum; rank 1 has max",
          reduce({.op = odd ? Max : Sum}, ones)},
         {"ranks disagree on prescale factor: ranks 0, 2 have 1; rank 1 has 0.5",
          reduce({.prescale = odd ? 0.5 : 1.0}, ones)},
         {"ranks disagree on postscale factor: ranks 0, 2 have 1; rank 1 has 2",
          reduce({.postscale = odd ? 2.0 : 1.0}, ones)},
         {"broadcast 'w': ranks disagree on root rank: ranks 0, 2 have 0; rank 1 has 2",
          [&] { broadcast(ones, odd ? 2 : 0, named); }},
         {"ranks disagree on operation: ranks 0, 2 have allreduce; rank 1 has broadcast",
          [&] { odd ? broadcast(ones, 0, named) : allreduce(ones, {.name = "w", .context = context}); }},
         {"allgather 'w': ranks disagree on shape: ranks 0, 2 have [2]; rank 1 has [3]",
          [&] { allgather(torch::ones({1, odd ? 3 : 2}), named); }},
         {"ranks disagree on ranks: ranks 0, 2 have [0, 1]; rank 1 has [0, 2]",
          [&] { add_process_set(odd ? std::vector<int>{0, 2} : std::vector<int>{0, 1}, context); }}});
  });
}

TEST(Disagreements, OnAJoinAreToldOnEveryRank) {
  on_ranks(2, [](const ContextPointer& context) {
    if (context->rank() == 1) {
      const std::string told = message_of<MismatchError>(
          [&] { allreduce(torch::ones({2}), {.name = "best", .op = Max, .context = context}); });
      EXPECT_NE(
          told.find(
              "allreduce 'best': rank 0 has joined and so no data for it, and zeros mean nothing to max: use "
              "sum or average, or do not join."),
          std::string::npos)
          << told;
    }
    join({.context = context});
    expect_world_is_well(context);
  });
}

TEST(WrongOptimizers, AreToldWithTheRemedy) {
  on_ranks(2, [](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    torch::optim::SGD of_a({model.a}, 0.1);
    NamedTensors only_a;
    only_a.insert("a", model.a);
    const DistributedOptimizerOptions options{.context = context};
    const auto wrap = [&](torch::optim::Optimizer& optimizer, const NamedTensors& named) {
      return message_of<std::invalid_argument>(
          [&] { const DistributedOptimizer d(optimizer, named, options); });
    };
    EXPECT_NE(wrap(sgd, only_a)
                  .find("1 of the optimizer's 2 parameters are not in named_parameters, so their gradients "
                        "would not be averaged; pass model->named_parameters()"),
              std::string::npos);
    DistributedOptimizer first(sgd, model.named_parameters(), options);
    const std::string rank = "rank " + std::to_string(context->rank());
    const std::string already =
        ", DistributedOptimizer: parameter 'a' already belongs to a DistributedOptimizer: destroy that one "
        "first";
    // The same optimizer a second time, and another one over a part of its parameters.
    EXPECT_EQ(wrap(sgd, model.named_parameters()), rank + already);
    EXPECT_EQ(wrap(of_a, only_a), rank + already);

    auto late = torch::ones({2}, torch::requires_grad());
    sgd.add_param_group(torch::optim::OptimizerParamGroup(std::vector<torch::Tensor>{late}));
    const std::string told = message_of<std::invalid_argument>([&] { first.step(); });
    EXPECT_NE(told.find("the optimizer has 3 parameters, but the gradients of only 2 are averaged: after "
                        "add_param_group() call add_parameters(model->named_parameters())"),
              std::string::npos)
        << told;
    expect_world_is_well(context);
  });
}

TEST(WrongOptimizers, OfDifferentModelsAreToldOnEveryRank) {
  on_ranks(3, [](const ContextPointer& context) {
    const auto told = [&](torch::nn::Module& model) {
      torch::optim::SGD sgd(model.parameters(), 0.1);
      return message_of<MismatchError>(
          [&] { const DistributedOptimizer d(sgd, model.named_parameters(), {.context = context}); });
    };
    const std::string start = "rank " + std::to_string(context->rank()) +
                              ", DistributedOptimizer: ranks differ in the parameters: ";
    torch::nn::Linear other_shape(context->rank() == 1 ? 3 : 2, 2);
    EXPECT_EQ(told(*other_shape),
              start +
                  "all have 2 of them, but not the same (kinds, names, types, shapes). Build the same "
                  "model and construct the DistributedOptimizers in the same order on every rank.");
    torch::nn::Linear fewer(torch::nn::LinearOptions(2, 2).bias(context->rank() != 2));
    EXPECT_TRUE(told(*fewer).starts_with(start + "they have from 1 to 2 of them, this rank "))
        << told(*fewer);
    expect_world_is_well(context);
  });
}

TEST(WrongOptimizers, RootsOfAStateMustBeRanks) {
  on_ranks(2, [](const ContextPointer& context) {
    TwoWeights model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    const std::string told =
        message_of<std::invalid_argument>([&] { broadcast_optimizer_state(sgd, 2, {.context = context}); });
    EXPECT_NE(told.find("broadcast_optimizer_state: root rank 2"), std::string::npos) << told;
  });
}

}  // namespace
}  // namespace hvd
