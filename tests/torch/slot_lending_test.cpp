// Large gradients are computed in the memory where ranks reduce them; whatever else autograd does with that memory, nobody sees it change.
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <set>
#include <thread>

#include "tests/torch/models.h"

namespace hvd {
namespace {

constexpr std::int64_t kWidth = 300;  // a weight of this width and height is large enough

// Two layers of the same size, whose gradients may be taken for each other.
struct Wide : torch::nn::Module {
  Wide() {
    first = register_module("first", torch::nn::Linear(kWidth, kWidth));
    second = register_module("second", torch::nn::Linear(kWidth, kWidth));
    last = register_module("last", torch::nn::Linear(kWidth, 2));
    fill(*this);
  }
  torch::Tensor forward(const torch::Tensor& inputs) {
    return last(torch::tanh(second(torch::tanh(first(inputs)))));
  }
  torch::nn::Linear first{nullptr}, second{nullptr}, last{nullptr};
};

torch::Tensor floats(torch::IntArrayRef shape, double phase) {
  return numbers(shape, phase).to(torch::kFloat32);
}

torch::Tensor loss_of_step(Wide& model, int step, int rank, std::int64_t rows = 5) {
  return model.forward(floats({rows, kWidth}, step + 0.1 * rank)).square().mean();
}

// Where the gradient that autograd hands over lies.
std::shared_ptr<const void*> watch(const torch::Tensor& parameter) {
  auto place = std::make_shared<const void*>(nullptr);
  parameter.register_hook([place](const torch::Tensor& gradient) { *place = gradient.const_data_ptr(); });
  return place;
}

// body(step, model, context) makes a backward. All gradients after every step, on rank 0: the same bits with a plan and without.
using Backward = std::function<void(int, Wide&, DistributedOptimizer&, const ContextPointer&)>;
void expect_same_as_negotiated(const Backward& backward, int n = 2) {
  std::vector<std::vector<torch::Tensor>> results(2);
  for (const bool static_plan : {false, true}) {
    Config config = test_config();
    config.static_plan = static_plan;
    on_ranks(
        n,
        [&](const ContextPointer& context) {
          Wide model;
          torch::optim::SGD sgd(model.parameters(), 0.1);
          DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
          for (int step = 0; step < 9; ++step) {
            optimizer.zero_grad(step % 4 != 3);
            backward(step, model, optimizer, context);
            if (context->rank() == 0) {
              for (const auto& parameter : model.parameters())
                results[static_plan ? 1 : 0].push_back(parameter.grad().clone());
            }
            optimizer.step();
          }
        },
        true, InprocWorld::Backend::shm, config);
  }
  ASSERT_EQ(results[0].size(), results[1].size());
  for (std::size_t i = 0; i < results[0].size(); ++i)
    EXPECT_TRUE(torch::equal(results[0][i], results[1][i])) << "gradient " << i % 6 << " of step " << i / 6;
}

TEST(SlotLending, LargeGradientsAreComputedWhereTheyAreReduced) {
  on_ranks(3, [](const ContextPointer& context) {
    Wide model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    const auto first = watch(model.first->weight), second = watch(model.second->weight);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    for (int step = 0; step < 8; ++step) {
      optimizer.zero_grad();
      loss_of_step(model, step, context->rank()).backward();
      if (step > 3) {
        EXPECT_EQ(*first, model.first->weight.grad().const_data_ptr()) << "step " << step;
        EXPECT_EQ(*second, model.second->weight.grad().const_data_ptr()) << "step " << step;
      }
      optimizer.step();
    }
  });
}

TEST(SlotLending, TheResultIsThatWithoutPlan) {
  for (const int n : {2, 3}) {
    expect_same_as_negotiated(
        [](int step, Wide& model, DistributedOptimizer&, const ContextPointer& context) {
          loss_of_step(model, step, context->rank()).backward();
        },
        n);
  }
}

// A batch of kWidth rows: gradients of activations are as large as those of weights, and are allocated before or after them.
TEST(SlotLending, AWrongGuessDisturbsNobody) {
  expect_same_as_negotiated([](int step, Wide& model, DistributedOptimizer&, const ContextPointer& context) {
    loss_of_step(model, step, context->rank(), step % 3 == 1 ? kWidth : 5).backward();
  });
}

// What a step looks at differs from step to step, and is kept over the next ones.
TEST(SlotLending, WhatAWrongGuessWasLentToKeepsItsValues) {
  std::vector<std::vector<torch::Tensor>> kept(2), copies(2);
  on_ranks(2, [&](const ContextPointer& context) {
    const auto rank = static_cast<std::size_t>(context->rank());
    Wide model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    std::set<const void*> places;
    for (int step = 0; step < 12; ++step) {
      optimizer.zero_grad();
      const auto hidden = torch::tanh(model.first(floats({kWidth, kWidth}, step)));
      hidden.register_hook([&](const torch::Tensor& gradient) {
        if (step % 2 == 0) return;
        // Another tensor as large, where a gradient is expected.
        kept[rank].push_back(torch::full({kWidth, kWidth}, static_cast<float>(step)));
        copies[rank].push_back(kept[rank].back().clone());
        kept[rank].push_back(gradient);
        copies[rank].push_back(gradient.clone());
      });
      model.last(torch::tanh(model.second(hidden))).square().mean().backward();
      if (step > 3) places.insert(model.first->weight.grad().const_data_ptr());
      optimizer.step();
      for (std::size_t i = 0; i < kept[rank].size(); ++i)
        ASSERT_TRUE(torch::equal(kept[rank][i], copies[rank][i])) << "step " << step << ", tensor " << i;
    }
    EXPECT_GT(places.size(), 1U) << "no guess was wrong";
  });
  for (std::size_t i = 0; i < kept[0].size(); ++i)
    EXPECT_TRUE(torch::equal(kept[0][i], copies[0][i])) << "afterwards";
}

TEST(SlotLending, AHookThatKeepsALocalGradientKeepsIt) {
  on_ranks(2, [](const ContextPointer& context) {
    Wide model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    std::vector<torch::Tensor> kept, copies;
    const auto keep = [&](const torch::Tensor& gradient) {
      kept.push_back(gradient);
      copies.push_back(gradient.clone());
    };
    model.first->weight.register_hook(keep);
    model.second->weight.register_hook(
        [keep](const torch::Tensor& gradient) { keep(gradient.view({-1}).slice(0, 7)); });
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    for (int step = 0; step < 7; ++step) {
      optimizer.zero_grad();
      loss_of_step(model, step, context->rank()).backward();
      optimizer.step();
      for (std::size_t i = 0; i < kept.size(); ++i)
        ASSERT_TRUE(torch::equal(kept[i], copies[i])) << "step " << step << ", tensor " << i;
    }
  });
}

// Who sees the gradient after us, or has seen it before.
struct Keeper : torch::autograd::FunctionPostHook, torch::autograd::PostAccumulateGradHook {
  explicit Keeper(std::vector<torch::Tensor>* kept) : kept(kept) {}
  torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                            const torch::autograd::variable_list& inputs) override {
    if (!inputs.empty() && inputs[0].defined()) kept->push_back(inputs[0]);
    return outputs;
  }
  void operator()(const torch::autograd::Variable& parameter) override { kept->push_back(parameter.grad()); }
  std::vector<torch::Tensor>* kept;
};

TEST(SlotLending, HooksOfAutogradsNodesKeepLocalGradients) {
  for (const bool is_before : {true, false}) {
    on_ranks(2, [&](const ContextPointer& context) {
      Wide model, alone;
      std::vector<torch::Tensor> kept;
      const torch::Tensor weight = model.first->weight;
      const auto node = torch::autograd::impl::grad_accumulator(weight);
      if (is_before) {
        torch::autograd::impl::set_post_acc_grad_hooks(weight, std::make_unique<Keeper>(&kept));
      } else {
        node->add_post_hook(std::make_unique<Keeper>(&kept));
      }
      torch::optim::SGD sgd(model.parameters(), 0.0);
      DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
      for (int step = 0; step < 6; ++step) {
        optimizer.zero_grad();
        loss_of_step(model, step, context->rank()).backward();
        optimizer.step();
        alone.zero_grad();
        loss_of_step(alone, step, context->rank()).backward();
        ASSERT_EQ(kept.size(), static_cast<std::size_t>(step + 1));
        EXPECT_TRUE(torch::equal(kept.back(), alone.first->weight.grad()))
            << "step " << step << (is_before ? ", before" : ", after");
      }
    });
  }
}

// Gradients of one come while those of another are computed, and a round is closed meanwhile.
TEST(SlotLending, BackwardsOnSeveralThreads) {
  constexpr int kThreads = 3;
  std::vector<std::vector<torch::Tensor>> results(2);
  for (const bool static_plan : {false, true}) {
    Config config = test_config();
    config.static_plan = static_plan;
    on_ranks(
        2,
        [&](const ContextPointer& context) {
          Wide model;
          torch::optim::SGD sgd(model.parameters(), 0.0);
          DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
          // Autograd accumulates of several backwards in turn only while a graph lives (training_pieces_test.cpp).
          const auto held = loss_of_step(model, 0, context->rank());
          for (int step = 0; step < 8; ++step) {
            optimizer.zero_grad();
            const int threads = step < 4 ? 1 : kThreads;
            std::vector<torch::Tensor> losses;
            for (int i = 0; i < threads; ++i)
              losses.push_back(loss_of_step(model, step + 20 * i, context->rank()));
            std::vector<std::thread> runs;
            for (auto& loss : losses) runs.emplace_back([&loss] { loss.backward(); });
            for (auto& run : runs) run.join();
            optimizer.step();
            if (context->rank() == 0) {
              for (const auto& parameter : model.parameters())
                results[static_plan ? 1 : 0].push_back(parameter.grad().clone());
            }
          }
        },
        true, InprocWorld::Backend::shm, config);
  }
  ASSERT_EQ(results[0].size(), results[1].size());
  // Sums are added up in any order.
  for (std::size_t i = 0; i < results[0].size(); ++i) {
    const double largest = results[0][i].abs().max().item<double>();
    EXPECT_LE((results[0][i] - results[1][i]).abs().max().item<double>(), 1e-5 * largest) << "gradient " << i;
  }
}

// Autograd gives both weights one tensor.
TEST(SlotLending, TwoWeightsWithOneGradient) {
  expect_same_as_negotiated([](int step, Wide& model, DistributedOptimizer&, const ContextPointer& context) {
    const auto sum = model.first->weight + model.second->weight;
    const auto unused = model.first->bias.sum() + model.second->bias.sum() + model.last->bias.sum() +
                        model.last->weight.sum();
    (torch::matmul(floats({4, kWidth}, step + 0.3 * context->rank()), sum).square().mean() + unused)
        .backward();
  });
}

TEST(SlotLending, SeveralBackwardsAStepAndHistory) {
  expect_same_as_negotiated(
      [](int step, Wide& model, DistributedOptimizer& optimizer, const ContextPointer& context) {
        if (step % 3 == 1) {
          const auto local = optimizer.no_sync();
          loss_of_step(model, step + 50, context->rank()).backward();
        }
        loss_of_step(model, step, context->rank())
            .backward({}, /*retain_graph=*/false, /*create_graph=*/step == 5);
        if (step % 3 == 2) loss_of_step(model, step + 100, context->rank()).backward();
      });
}

TEST(SlotLending, KeptGradientsKeepTheirValues) {
  on_ranks(2, [](const ContextPointer& context) {
    Wide model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    torch::Tensor kept, copy;
    for (int step = 0; step < 8; ++step) {
      optimizer.zero_grad();
      loss_of_step(model, step, context->rank()).backward();
      if (kept.defined()) {
        EXPECT_TRUE(torch::equal(kept, copy)) << "step " << step;
      }
      kept = model.first->weight.grad();
      copy = kept.clone();
      optimizer.step();
    }
  });
}

TEST(SlotLending, SetDataOfAGradientMovesItForThatStepOnly) {
  expect_same_as_negotiated([](int step, Wide& model, DistributedOptimizer&, const ContextPointer& context) {
    loss_of_step(model, step, context->rank()).backward();
    if (step == 4 || step == 6) {
      for (auto& parameter : model.parameters()) parameter.mutable_grad().set_data(parameter.grad() * 2);
    }
  });
}

}  // namespace
}  // namespace hvd
