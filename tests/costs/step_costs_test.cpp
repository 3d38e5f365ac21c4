// What DistributedOptimizer adds to a training step in the steady state, on two ranks: counted on each rank's thread, and compared with the same
// step without it.
#include <ATen/record_function.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <algorithm>
#include <limits>
#include <map>

#include "tests/costs/allocations.h"
#include "tests/costs/copies.h"
#include "tests/costs/counted_session.h"
#include "tests/costs/mlp.h"
#include "tests/costs/system_calls.h"
#include "tests/harness/run_ranks.h"
#include "tests/ranks/session_calls.h"

namespace hvd {
namespace {

constexpr int kRanks = 2;
constexpr int kSteps = 40;
constexpr int kSettled = 6;  // steps after which the steady state has begun
constexpr MlpSizes kSizes{40, 700, 4};
constexpr int kBuckets = 2;
constexpr int kAtTheEnd = 4;    // futex calls of a step: to sleep until its outcome, and to wake who does
constexpr int kParameters = 6;  // tensors
constexpr int kLarge = 1;       // of them, as large as SlotLender asks
constexpr std::int64_t kGradientBytes = std::int64_t{4} * (40 * 700 + 700 + 700 * 700 + 700 + 700 * 10 + 10);

struct Trainer {
  RankScope& scope;
  const FaultyTransport& messages;
  Training& plain;
  Training& wrapped;
};

// `body` on each rank, in the steady state.
void with_trainers(const std::function<void(Trainer&)>& body) {
  at::set_num_threads(1);
  InprocWorld world(kRanks);
  run_ranks(kRanks, [&](RankScope& scope) {
    auto [session, messages] = open_counted_session(world, scope.rank());
    ASSERT_TRUE(session.is_ok()) << session.status().message();
    const auto context = std::make_shared<Context>(std::move(session).value());
    const PortGuard guard = scope.guard_local(context->session());
    {
      Training plain(kSizes, nullptr);
      Training wrapped(kSizes, context);
      for (int step = 0; step < kSettled; ++step) {
        plain.step();
        wrapped.step();
      }
      Trainer trainer{scope, *messages, plain, wrapped};
      body(trainer);
      ASSERT_TRUE(context->session().barrier().wait(soon()).is_ok());
    }
    EXPECT_TRUE(context->session().shutdown(soon()).is_ok());
  });
}

// The least of many steps: a rank that waits long for the other asks again.
template <class Count>
auto least(Training& training, Count&& count) {
  auto lowest = std::numeric_limits<std::int64_t>::max();
  for (int step = 0; step < kSteps; ++step) lowest = std::min<std::int64_t>(lowest, count(training));
  return lowest;
}

// Autograd's interface costs a piece a parameter: a hook before an accumulation returns a list of one gradient. All else evens out, and nothing
// grows with the gradients.
TEST(StepCosts, FromTheHeapOnlyWhatHooksMust) {
  with_trainers([](Trainer& trainer) {
    const auto pieces = [](Training& training) {
      const Allocations before = allocations_so_far();
      training.step();
      return (allocations_so_far() - before).count;
    };
    const auto bytes = [](Training& training) {
      const Allocations before = allocations_so_far();
      training.step();
      return (allocations_so_far() - before).bytes;
    };
    const std::int64_t more_pieces = least(trainer.wrapped, pieces) - least(trainer.plain, pieces);
    const std::int64_t more_bytes = least(trainer.wrapped, bytes) - least(trainer.plain, bytes);
    EXPECT_LE(more_pieces, kParameters);
    EXPECT_LE(more_bytes, 256);
  });
}

TEST(StepCosts, NoSystemCallButToSleepAndWake) {
  if (!SystemCalls::can_be_counted()) GTEST_SKIP() << "this kernel hands no system calls over";
  with_trainers([](Trainer& trainer) {
    const auto others = [](Training& training) {
      const SystemCalls calls;
      training.step();
      return calls.count() - calls.count(SYS_futex) - calls.count(SYS_sched_yield);
    };
    const auto futexes = [](Training& training) {
      const SystemCalls calls;
      for (int step = 0; step < kSteps; ++step) training.step();
      return calls.count(SYS_futex);
    };
    EXPECT_EQ(least(trainer.wrapped, others) - least(trainer.plain, others), 0);
    EXPECT_LE(futexes(trainer.wrapped), (2 * kBuckets + kAtTheEnd) * kSteps);
  });
}

TEST(StepCosts, NoMessage) {
  with_trainers([](Trainer& trainer) {
    const int before = trainer.messages.calls();
    EXPECT_GT(before, 0);
    for (int step = 0; step < kSteps; ++step) trainer.wrapped.step();
    // Who is through first may have begun the round in which all meet.
    EXPECT_LE(trainer.messages.calls() - before, 1);
  });
}

using Operators = std::map<std::string, int>;  // how often each of LibTorch's runs in a step

thread_local Operators* watched = nullptr;

std::unique_ptr<at::ObserverContext> on_operator(const at::RecordFunction& function) {
  if (watched != nullptr) ++(*watched)[function.name()];
  return nullptr;
}

Operators operators_of(Training& training) {
  Operators seen;
  watched = &seen;
  const auto handle = at::addThreadLocalCallback(at::RecordFunctionCallback(on_operator));
  training.step();
  at::removeCallback(handle);
  watched = nullptr;
  return seen;
}

// A small gradient is copied once, into its slot, when autograd has handed it over. That is the only operator more.
TEST(StepCosts, OneCopyOfSmallGradientsIntoTheSlotAndNoOtherOperator) {
  with_trainers([](Trainer& trainer) {
    const Operators plain = operators_of(trainer.plain);
    const Operators wrapped = operators_of(trainer.wrapped);
    Operators more = wrapped;
    for (const auto& [name, count] : plain) more[name] -= count;
    std::erase_if(more, [](const auto& one) { return one.second == 0; });
    EXPECT_EQ(more, (Operators{{"aten::copy_", kParameters - kLarge}}));
  });
}

TEST(StepCosts, NoOtherCopy) {
  std::int64_t before = 0;
  std::int64_t after = 0;
  with_trainers([&](Trainer& trainer) {
    trainer.wrapped.step();
    if (trainer.scope.rank() == 0) before = bytes_copied();
    for (int step = 0; step < kSteps; ++step) trainer.wrapped.step();
    if (trainer.scope.rank() == 0) after = bytes_copied();
  });
  EXPECT_LE(after - before, kRanks * 2048 * kSteps);
}

// The slots are one piece of memory, outside the heap, and what a program without ranks has there for its gradients is free.
TEST(StepCosts, OneCopyOfTheGradientsInMemory) {
  with_trainers([](Trainer& trainer) {
    const std::byte* first = nullptr;
    const std::byte* last = nullptr;
    for (const torch::Tensor& parameter : trainer.wrapped.parameters()) {
      const auto* const begin = static_cast<const std::byte*>(parameter.grad().const_data_ptr());
      const std::byte* const end = begin + parameter.grad().nbytes();
      first = first == nullptr ? begin : std::min(first, begin);
      last = std::max(last, end);
    }
    // Gradients begin at cache lines, a large one at a page, and fills its last one; two buckets.
    EXPECT_LE(last - first, kGradientBytes + std::int64_t{64} * kParameters + std::int64_t{8192} * kLarge);
  });
}

TEST(StepCosts, NothingOfTheGradientsIsInTheHeap) {
  std::array<std::int64_t, 2> used{};  // by a rank's training: plain, wrapped
  for (const bool is_wrapped : {false, true}) {
    InprocWorld world(kRanks);
    std::int64_t before = 0;
    run_ranks(kRanks, [&](RankScope& scope) {
      auto session = Session::create(world.parts(scope.rank()));
      ASSERT_TRUE(session.is_ok());
      const auto context = std::make_shared<Context>(std::move(session).value());
      const PortGuard guard = scope.guard_local(context->session());
      const auto all = [&] { ASSERT_TRUE(context->session().barrier().wait(soon()).is_ok()); };
      all();
      if (scope.rank() == 0) before = bytes_in_use();
      all();
      {
        Training training(kSizes, is_wrapped ? context : nullptr);
        for (int step = 0; step < kSettled; ++step) training.step();
        all();
        if (scope.rank() == 0) used[is_wrapped ? 1 : 0] = (bytes_in_use() - before) / kRanks;
        all();
      }
      EXPECT_TRUE(context->session().shutdown(soon()).is_ok());
    });
  }
  EXPECT_LE(used[1], used[0] - kGradientBytes + std::int64_t{65'536});
}

}  // namespace
}  // namespace hvd
