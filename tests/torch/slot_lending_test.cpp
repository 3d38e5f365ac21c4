// Large gradients are computed in the memory where ranks reduce them; whatever else autograd does with that memory, nobody sees it change.
#include <sys/mman.h>

#include <c10/core/CPUAllocator.h>

#include "bindings/torch/arena_plan.h"
#include "bindings/torch/slot_lender.h"
#include "horovod_cpp/base/pages.h"
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
      optimizer.step();
      for (std::size_t i = 0; i < kept[rank].size(); ++i)
        ASSERT_TRUE(torch::equal(kept[rank][i], copies[rank][i])) << "step " << step << ", tensor " << i;
    }
  });
  EXPECT_GT(kept[0].size(), 8U);
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

// --- the lender alone ---

class Lender : public testing::Test {
 protected:
  static constexpr std::size_t kBytes = kLeastBytesOnOwnPages;

  void SetUp() override {
    void* const at = ::mmap(nullptr, 2 * kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(at, MAP_FAILED);
    payload = static_cast<std::byte*>(at);
    mapping = std::shared_ptr<void>(at, [](void* start) { ::munmap(start, 2 * kBytes); });
    lender = SlotLender::open(payload, 2 * kBytes, {{0, kBytes}, {kBytes, kBytes}}, mapping);
    ASSERT_TRUE(lender);
    install_lending_allocator();
    lender->begin_epoch();
    // Gradient 1 comes, and then 0, in the first thing of its size that was allocated in between.
    lender->open_window(1, all);
    const auto learnt = allocate();
    lender->learn(0, learnt.const_data_ptr());
    SlotLender::close_window();
    lender->begin_epoch();
  }
  void TearDown() override { SlotLender::close_window(); }

  static bool all(std::size_t) { return true; }
  static torch::Tensor allocate(std::size_t bytes = kBytes) {
    return torch::empty({static_cast<std::int64_t>(bytes)}, torch::kUInt8);
  }

  std::byte* payload = nullptr;
  std::shared_ptr<void> mapping;
  std::shared_ptr<SlotLender> lender;
};

TEST_F(Lender, GivesTheForeseenAllocationTheSlot) {
  lender->open_window(1, all);
  const auto other = allocate(kBytes + 1);
  EXPECT_FALSE(lender->is_lent(0));
  const auto lent = allocate();
  EXPECT_TRUE(lender->is_lent(0));
  EXPECT_EQ(lent.const_data_ptr(), lender->at(0));
  std::memset(lent.data_ptr(), 7, kBytes);
  EXPECT_EQ(payload[kBytes - 1], std::byte{7}) << "it is the payload, at another address";
  EXPECT_NE(allocate().const_data_ptr(), lender->at(1)) << "nobody has foreseen that";
}

TEST_F(Lender, LendsOnceAtATimeAndAgainWhenItIsBack) {
  lender->open_window(1, all);
  auto lent = allocate();
  lender->open_window(1, all);
  EXPECT_NE(allocate().const_data_ptr(), lender->at(0));
  lent.reset();
  EXPECT_FALSE(lender->is_lent(0));
  lender->open_window(1, all);
  EXPECT_EQ(allocate().const_data_ptr(), lender->at(0));
}

TEST_F(Lender, LendsNothingThatIsHeldSealedOrOfAnotherEpoch) {
  lender->open_window(1, [](std::size_t slot) { return slot != 0; });
  EXPECT_NE(allocate().const_data_ptr(), lender->at(0)) << "held";
  lender->open_window(1, all);
  lender->begin_epoch();
  EXPECT_NE(allocate().const_data_ptr(), lender->at(0)) << "another epoch";
  lender->seal(0);
  lender->open_window(1, all);
  EXPECT_NE(allocate().const_data_ptr(), lender->at(0)) << "sealed";
  lender->begin_epoch();
  lender->open_window(1, all);
  SlotLender::close_window();
  EXPECT_NE(allocate().const_data_ptr(), lender->at(0)) << "no window";
}

TEST_F(Lender, TakesASlotBackFromWhoeverHasIt) {
  lender->open_window(1, all);
  auto lent = allocate();
  lent.fill_(5);
  const auto* const before = lender->at(0);
  lender->take_back(0);
  EXPECT_FALSE(lender->is_lent(0));
  EXPECT_NE(lender->at(0), before);
  EXPECT_TRUE(lender->contains(before) && lender->contains(lender->at(0)));
  std::memset(lender->at(0), 9, kBytes);
  EXPECT_EQ(payload[0], std::byte{9});
  EXPECT_TRUE((lent == 5).all().item<bool>());
  lent.fill_(6);
  EXPECT_EQ(payload[0], std::byte{9});
  // What shares its memory does not matter, and it may end after everything else.
  SlotLender::close_window();
  lender.reset();
  mapping.reset();
  EXPECT_TRUE((lent == 6).all().item<bool>());
}

TEST_F(Lender, LeavesASlotAloneThatItHasToTakeBackAgainAndAgain) {
  int times = 0;
  for (; times < 100; ++times) {
    lender->begin_epoch();
    lender->open_window(1, all);
    const auto lent = allocate();
    if (lent.const_data_ptr() != lender->at(0)) break;
    lender->take_back(0);
  }
  EXPECT_GT(times, 1);
  EXPECT_LT(times, 10);
}

TEST_F(Lender, ClosedLendsNothingAndHasTakenBackAll) {
  lender->open_window(1, all);
  const auto lent = allocate();
  lender->close();
  std::memset(payload, 3, 2 * kBytes);
  EXPECT_FALSE((lent == 3).all().item<bool>());
  lender->open_window(1, all);
  EXPECT_NE(allocate().const_data_ptr(), lender->at(0));
}

TEST_F(Lender, RawAllocationsAreFreedAsTheyCame) {
  c10::Allocator* const allocator = c10::GetCPUAllocator();
  lender->open_window(1, all);
  void* const lent = allocator->raw_allocate(kBytes);
  void* const other = allocator->raw_allocate(kBytes);
  EXPECT_EQ(lent, lender->at(0));
  EXPECT_NE(other, lent);
  allocator->raw_deallocate(other);
  EXPECT_TRUE(lender->is_lent(0));
  allocator->raw_deallocate(lent);
  EXPECT_FALSE(lender->is_lent(0));
}

}  // namespace
}  // namespace hvd
