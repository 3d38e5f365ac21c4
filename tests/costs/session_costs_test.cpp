// What a synchronous call of a Session costs besides the sum: negotiated, on ordinary memory, one call after the other.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/costs/allocations.h"
#include "tests/costs/copies.h"
#include "tests/costs/counted_session.h"
#include "tests/harness/run_ranks.h"
#include "tests/ranks/session_calls.h"

namespace hvd {
namespace {

constexpr int kRanks = 2;
constexpr int kCalls = 40;
constexpr std::size_t kElements = 50'000;

struct Caller {
  RankScope& scope;
  Session& session;
  const FaultyTransport& messages;
  TensorId id;
  std::vector<float> values = std::vector<float>(kElements, 1.0F);

  void allreduce() {
    Submission submission;
    submission.id = id;
    submission.input = submission.output = values.data();
    // Not Session::call: on its thread the round would be counted, too.
    const Status reduced = session.submit(std::move(submission)).wait(soon());
    ASSERT_TRUE(reduced.is_ok()) << reduced.message();
  }
};

// `body` on each rank, after calls that declare and allocate for good.
void with_callers(const std::function<void(Caller&)>& body) {
  InprocWorld world(kRanks);
  run_ranks(kRanks, [&](RankScope& scope) {
    auto [session, messages] = open_counted_session(world, scope.rank());
    ASSERT_TRUE(session.is_ok()) << session.status().message();
    const PortGuard guard = scope.guard_local(**session);
    Declaration declaration = float_tensor(OpKind::allreduce, "values", {std::int64_t{kElements}});
    declaration.op = ReduceOp::average;
    const auto id = (*session)->declare(declaration);
    ASSERT_TRUE(id.is_ok());
    Caller caller{scope, **session, *messages, id.value()};
    for (int warm = 0; warm < 10; ++warm) caller.allreduce();
    body(caller);
    ASSERT_TRUE((*session)->barrier().wait(soon()).is_ok());
    EXPECT_TRUE((*session)->shutdown(soon()).is_ok());
  });
}

// The vectors of Session::submit, the Work's state, the queue: nothing that grows with the tensor.
TEST(SessionCosts, ACallerTakesAFewSmallPiecesFromTheHeap) {
  with_callers([](Caller& caller) {
    const Allocations before = allocations_so_far();
    for (int call = 0; call < kCalls; ++call) caller.allreduce();
    const Allocations taken = allocations_so_far() - before;
    EXPECT_LE(taken.count, 7 * kCalls);
    EXPECT_LE(taken.bytes, 2047 * kCalls);
  });
}

// A rank's news and the answer to it: more than two rounds a call would be polling.
TEST(SessionCosts, ACallTakesTwoRoundsAtMost) {
  with_callers([](Caller& caller) {
    const int before = caller.messages.calls();
    for (int call = 0; call < kCalls; ++call) caller.allreduce();
    const int rounds = caller.messages.calls() - before;
    EXPECT_GE(rounds, kCalls);
    EXPECT_LE(rounds, 2 * kCalls);
  });
}

// Memory that other ranks do not see is staged: each rank copies the piece that another one reduces, and gets it back. Not the whole, and
// nothing twice.
TEST(SessionCosts, ATensorIsCopiedOnceAtMost) {
  std::int64_t before = 0;
  std::int64_t after = 0;
  with_callers([&](Caller& caller) {
    ASSERT_TRUE(caller.session.barrier().wait(soon()).is_ok());
    if (caller.scope.rank() == 0) before = bytes_copied();
    ASSERT_TRUE(caller.session.barrier().wait(soon()).is_ok());
    for (int call = 0; call < kCalls; ++call) caller.allreduce();
    ASSERT_TRUE(caller.session.barrier().wait(soon()).is_ok());
    if (caller.scope.rank() == 0) after = bytes_copied();
  });
  const auto tensor_bytes = static_cast<std::int64_t>(kElements * sizeof(float));
  EXPECT_LE(after - before, (tensor_bytes + 16'384) * kCalls * kRanks);
}

}  // namespace
}  // namespace hvd
