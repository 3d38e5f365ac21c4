#include "horovod_cpp/coordinator/negotiator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "tests/harness/seed.h"

namespace hvd {
namespace {

Declaration tensor(const std::string& name, Shape shape = {2, 3}) {
  Declaration declaration;
  declaration.name = name;
  declaration.shape = std::move(shape);
  return declaration;
}

Report declares(std::vector<Declaration> declarations) {
  Report report;
  for (std::uint32_t i = 0; i < declarations.size(); ++i) report.ready.push_back({true, i});
  report.declarations = std::move(declarations);
  return report;
}

Report ready(std::uint32_t wire_id) {
  Report report;
  report.ready.push_back({false, wire_id});
  return report;
}

Report leaving() {
  Report report;
  report.is_leaving = true;
  return report;
}

std::vector<std::string> names(const std::vector<Agreement>& agreements) {
  std::vector<std::string> out;
  for (const Agreement& agreement : agreements) out.push_back(agreement.declaration->name);
  return out;
}

std::vector<Agreement> step(Negotiator& negotiator, const std::vector<Report>& reports) {
  auto result = negotiator.step(reports);
  EXPECT_TRUE(result.is_ok()) << result.status().message();
  return result.is_ok() ? std::move(result).value() : std::vector<Agreement>{};
}

TEST(Negotiator, AgreesOnceEveryRankIsReady) {
  Negotiator negotiator(2);
  EXPECT_TRUE(step(negotiator, {declares({tensor("a")}), Report{}}).empty());
  EXPECT_TRUE(negotiator.has_waiting());
  const auto ended = step(negotiator, {Report{}, declares({tensor("a")})});
  ASSERT_EQ(names(ended), std::vector<std::string>{"a"});
  EXPECT_TRUE(ended[0].status.is_ok());
  EXPECT_FALSE(negotiator.has_waiting());
}

TEST(Negotiator, SendsOnlyTheIdFromTheSecondTimeOn) {
  Negotiator negotiator(2);
  step(negotiator, {declares({tensor("a")}), declares({tensor("a")})});
  const auto id = negotiator.wire_id(tensor("a"));
  ASSERT_TRUE(id.has_value());
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(names(step(negotiator, {ready(*id), ready(*id)})), std::vector<std::string>{"a"});
  }
}

TEST(Negotiator, OrderIsThatOfCompletion) {
  Negotiator negotiator(3);
  step(negotiator, {declares({tensor("a"), tensor("b")}), declares({tensor("b"), tensor("a")}), Report{}});
  EXPECT_EQ(names(step(negotiator, {Report{}, Report{}, declares({tensor("b"), tensor("a")})})),
            (std::vector<std::string>{"b", "a"}));
}

TEST(Negotiator, DisagreementNamesTensorPropertyRanksAndValues) {
  Negotiator negotiator(3);
  const auto ended = step(negotiator, {declares({tensor("w", {2, 3})}), declares({tensor("w", {3, 2})}),
                                       declares({tensor("w", {2, 3})})});
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended[0].status.code(), StatusCode::mismatch);
  EXPECT_EQ(ended[0].status.message(),
            "allreduce 'w': ranks disagree on shape: ranks 0, 2 have [2, 3]; rank 1 has [3, 2]. Submit the "
            "same shape on "
            "every rank.");
}

TEST(Negotiator, EveryPropertyIsCompared) {
  const std::vector<std::pair<const char*, void (*)(Declaration&)>> changes{
      {"operation", [](Declaration& d) { d.kind = OpKind::broadcast; }},
      {"dtype", [](Declaration& d) { d.dtype = DataType::float64; }},
      {"shape", [](Declaration& d) { d.shape = {6}; }},
      {"device", [](Declaration& d) { d.device.type = DeviceType::cuda; }},
      {"reduction", [](Declaration& d) { d.op = ReduceOp::max; }},
      {"prescale factor", [](Declaration& d) { d.prescale = 0.5; }},
      {"postscale factor", [](Declaration& d) { d.postscale = 0.5; }},
      {"root rank", [](Declaration& d) { d.root = 1; }}};
  for (const auto& [property, change] : changes) {
    Negotiator negotiator(2);
    Declaration other = tensor("w");
    change(other);
    const auto ended = step(negotiator, {declares({tensor("w")}), declares({other})});
    ASSERT_EQ(ended.size(), 1U) << property;
    EXPECT_EQ(ended[0].status.code(), StatusCode::mismatch) << property;
    EXPECT_NE(ended[0].status.message().find(property), std::string::npos) << ended[0].status.message();
  }
}

TEST(Negotiator, DeviceIndexMayDiffer) {
  Negotiator negotiator(2);
  Declaration first = tensor("w");
  first.device = {DeviceType::cuda, 0};
  Declaration second = first;
  second.device.index = 1;
  const auto ended = step(negotiator, {declares({first}), declares({second})});
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_TRUE(ended[0].status.is_ok()) << ended[0].status.message();
}

TEST(Negotiator, ATensorMayChangeItsShapeOnAllRanks) {
  Negotiator negotiator(2);
  step(negotiator, {declares({tensor("w", {4})}), declares({tensor("w", {4})})});
  const auto id = negotiator.wire_id(tensor("w"));
  const auto ended = step(negotiator, {declares({tensor("w", {5})}), declares({tensor("w", {5})})});
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_TRUE(ended[0].status.is_ok());
  EXPECT_EQ(ended[0].declaration->shape, (Shape{5}));
  EXPECT_EQ(negotiator.wire_id(tensor("w")), id);
}

TEST(Negotiator, ARankThatLeavesEndsWhatOthersWaitFor) {
  Negotiator negotiator(3);
  step(negotiator, {declares({tensor("a")}), Report{}, Report{}});
  const auto ended = step(negotiator, {Report{}, leaving(), Report{}});
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended[0].status.code(), StatusCode::shut_down);
  EXPECT_EQ(ended[0].status.message(),
            "allreduce 'a': rank 1 shut down without submitting it, while rank 0 submitted it. Run the same "
            "number of steps "
            "on every rank.");
  // What comes later ends at once.
  EXPECT_EQ(step(negotiator, {Report{}, Report{}, declares({tensor("b")})}).size(), 1U);
}

TEST(Negotiator, WhatALeavingRankHasSubmittedCanStillComplete) {
  Negotiator negotiator(2);
  Report last = declares({tensor("a")});
  last.is_leaving = true;
  EXPECT_TRUE(step(negotiator, {last, Report{}}).empty());
  const auto ended = step(negotiator, {Report{}, declares({tensor("a")})});
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_TRUE(ended[0].status.is_ok());
  EXPECT_FALSE(negotiator.everyone_left());
  step(negotiator, {Report{}, leaving()});
  EXPECT_TRUE(negotiator.everyone_left());
}

TEST(Negotiator, RefusesARankThatBreaksTheProtocol) {
  Negotiator unknown(2);
  EXPECT_EQ(unknown.step(std::vector<Report>{ready(7), Report{}}).status().code(), StatusCode::aborted);

  Negotiator twice(2);
  step(twice, {declares({tensor("a")}), Report{}});
  EXPECT_EQ(twice.step(std::vector<Report>{ready(0), Report{}}).status().code(), StatusCode::aborted);

  Negotiator undeclared(2);
  step(undeclared, {declares({tensor("a")}), Report{}});
  EXPECT_EQ(undeclared.step(std::vector<Report>{Report{}, ready(0)}).status().code(), StatusCode::aborted);

  // What a rank refuses at its own call it refuses from another rank, too.
  Negotiator nonsense(2);
  Declaration set = tensor("set");
  set.kind = OpKind::add_process_set;
  set.ranks = {-1'000'000, 0, 1, 1 << 30};
  const Status refused = nonsense.step(std::vector<Report>{declares({set}), declares({set})}).status();
  EXPECT_EQ(refused.code(), StatusCode::aborted);
  EXPECT_NE(refused.message().find("expected 0 to 1"), std::string::npos) << refused.message();
}

TEST(Negotiator, SaysWhoWaitsForWhom) {
  Negotiator negotiator(4);
  step(negotiator, {Report{}, declares({tensor("a")}), Report{}, declares({tensor("a")})});
  const auto waiting = negotiator.waiting();
  ASSERT_EQ(waiting.size(), 1U);
  EXPECT_EQ(waiting[0].ready_ranks, (std::vector<int>{1, 3}));
  EXPECT_EQ(waiting[0].missing_ranks, (std::vector<int>{0, 2}));
}

// Any split of any orders into rounds: everything is agreed exactly once, and all ranks' negotiators say the same.
TEST(Negotiator, AnyOrderAndAnySplitIntoRounds) {
  for_each_seed(5, 2000, [](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    const int size = 1 + static_cast<int>(random() % 7);
    const std::size_t tensors = 1 + random() % 30;
    std::vector<std::vector<std::size_t>> orders(static_cast<std::size_t>(size));
    for (auto& order : orders) {
      order.resize(tensors);
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::shuffle(order.begin(), order.end(), random);
    }
    Negotiator one(size);
    Negotiator other(size);
    std::vector<std::size_t> position(static_cast<std::size_t>(size), 0);
    std::vector<std::string> agreed;
    while (agreed.size() < tensors) {
      std::vector<Report> reports(static_cast<std::size_t>(size));
      for (std::size_t rank = 0; rank < reports.size(); ++rank) {
        std::vector<Declaration> now;
        for (std::size_t n = random() % 4; n > 0 && position[rank] < tensors; --n) {
          now.push_back(tensor("t" + std::to_string(orders[rank][position[rank]++])));
        }
        reports[rank] = declares(now);
      }
      const auto first = names(step(one, reports));
      ASSERT_EQ(first, names(step(other, reports)));
      agreed.insert(agreed.end(), first.begin(), first.end());
    }
    std::sort(agreed.begin(), agreed.end());
    EXPECT_EQ(std::adjacent_find(agreed.begin(), agreed.end()), agreed.end());
    EXPECT_FALSE(one.has_waiting());
  });
}

}  // namespace
}  // namespace hvd
