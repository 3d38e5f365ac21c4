#include "tests/torch/odd_model.h"

namespace hvd {
namespace {

void expect_refused(const ContextPointer& context, const std::string& words,
                    const std::function<void()>& body) {
  const std::string message = message_of<std::logic_error>(body);
  EXPECT_NE(message.find("rank " + std::to_string(context->rank()) + ", ShardedOptimizer: "),
            std::string::npos)
      << message;
  EXPECT_NE(message.find(words), std::string::npos) << message;
}

TEST(ShardedOptimizerMistakes, OptimizersThatCannotBeCut) {
  on_ranks(2, [](const ContextPointer& context) {
    for (const std::string kind : {"LBFGS", "Adagrad"}) {
      Odd model;
      model.precise.set_requires_grad(true);
      auto plain =
          kind == "LBFGS" ? make_optimizer(kind, {model.wide}) : make_optimizer(kind, model.parameters());
      expect_refused(context, "expected torch::optim::SGD, Adam, AdamW or RMSprop", [&] {
        ShardedOptimizer optimizer(*plain, model.named_parameters(), {.context = context});
      });
      EXPECT_EQ(plain->param_groups().front().params().front().sizes(), model.wide.sizes());
    }
  });
}

TEST(ShardedOptimizerMistakes, OtherGroupsOnAnotherRank) {
  on_ranks(2, [](const ContextPointer& context) {
    Odd model;
    auto plain =
        context->rank() == 0 ? two_groups("Adam", model) : make_optimizer("Adam", model.parameters());
    const std::string message = message_of<MismatchError>(
        [&] { ShardedOptimizer optimizer(*plain, model.named_parameters(), {.context = context}); });
    EXPECT_NE(message.find("ShardedOptimizer: ranks differ in the kind of optimizer, groups or parameters"),
              std::string::npos)
        << message;
  });
}

TEST(ShardedOptimizerMistakes, AParameterThatWasMovedSince) {
  on_ranks(2, [](const ContextPointer& context) {
    Odd model;
    ShardedOptimizer optimizer(make_optimizer("Adam", model.parameters()), model.named_parameters(),
                               {.context = context});
    model.loss(context->rank(), 0).backward();
    model.odd.set_data(model.odd.detach().clone());
    expect_refused(context, "parameter 'odd' has other memory than it was given", [&] { optimizer.step(); });
  });
}

TEST(ShardedOptimizerMistakes, AGroupThatWasAddedSince) {
  on_ranks(2, [](const ContextPointer& context) {
    Odd model;
    ShardedOptimizer optimizer(make_optimizer("Adam", {model.wide, model.odd}), model.named_parameters(),
                               {.context = context});
    optimizer->add_param_group(torch::optim::OptimizerParamGroup({model.one}));
    model.loss(context->rank(), 0).backward();
    expect_refused(context, "the wrapped optimizer's groups have changed", [&] { optimizer.step(); });
  });
}

TEST(ShardedOptimizerMistakes, ASparseGradient) {
  on_ranks(2, [](const ContextPointer& context) {
    torch::nn::Embedding embedding(torch::nn::EmbeddingOptions(9, 4).sparse(true));
    ShardedOptimizer optimizer(make_optimizer("SGD", embedding->parameters()), embedding->named_parameters(),
                               {.context = context});
    embedding->forward(torch::tensor({1, 2})).sum().backward();
    expect_refused(context, "the gradient of parameter 'weight' is sparse", [&] { optimizer.step(); });
  });
}

TEST(ShardedOptimizerMistakes, BroadcastingASlice) {
  on_ranks(2, [](const ContextPointer& context) {
    auto plain = make_optimizer("Adam", {numbers({128}, 1).set_requires_grad(true)});
    NamedTensors named;
    named.insert("only", plain->param_groups()[0].params()[0]);
    ShardedOptimizer optimizer(*plain, named, {.context = context});
    EXPECT_EQ(plain->param_groups()[0].params()[0].numel(), 64);
    const std::string message =
        message_of<MismatchError>([&] { broadcast_optimizer_state(*plain, 0, {.context = context}); });
    EXPECT_NE(message.find("ranks differ in the kind of optimizer, groups or parameters"), std::string::npos)
        << message;
  });
}

TEST(ShardedOptimizerMistakes, ARootThatIsNoRank) {
  on_ranks(2, [](const ContextPointer& context) {
    Odd model;
    ShardedOptimizer optimizer(make_optimizer("Adam", model.parameters()), model.named_parameters(),
                               {.context = context});
    expect_refused(context, "gather: root rank 2: expected a rank that takes part",
                   [&] { optimizer.gather(2); });
  });
}

TEST(ShardedOptimizerMistakes, SomethingElseThanFloatingPoint) {
  on_ranks(2, [](const ContextPointer& context) {
    const auto number = torch::zeros({3}, torch::kComplexFloat).set_requires_grad(true);
    NamedTensors named;
    named.insert("number", number);
    auto plain = make_optimizer("SGD", {number});
    expect_refused(context, "expected floating-point numbers on the CPU, got ComplexFloat on cpu",
                   [&] { ShardedOptimizer optimizer(*plain, named, {.context = context}); });
  });
}

}  // namespace
}  // namespace hvd
