// Negotiator: process sets, join and groups.
#include <gtest/gtest.h>

#include "horovod_cpp/coordinator/negotiator.h"

namespace hvd {
namespace {

Declaration tensor(const std::string& name, int process_set = 0) {
  Declaration declaration;
  declaration.name = name;
  declaration.shape = {4};
  declaration.process_set = process_set;
  return declaration;
}

Declaration of_kind(OpKind kind, const std::string& name, int process_set = 0) {
  Declaration declaration = tensor(name, process_set);
  declaration.kind = kind;
  return declaration;
}

Declaration adding(std::vector<int> ranks) {
  Declaration declaration = of_kind(OpKind::add_process_set, "add");
  declaration.ranks = std::move(ranks);
  return declaration;
}

Declaration in_group(const std::string& name, int size) {
  Declaration declaration = tensor(name);
  declaration.group = "g";
  declaration.group_size = size;
  return declaration;
}

Report says(std::vector<Declaration> declarations, const std::vector<Extents>& extents = {}) {
  Report report;
  for (std::uint32_t i = 0; i < declarations.size(); ++i) {
    report.ready.push_back({true, i, extents.empty() ? Extents{} : extents[i]});
  }
  report.declarations = std::move(declarations);
  return report;
}

std::vector<Agreement> step(Negotiator& negotiator, const std::vector<Report>& reports) {
  auto result = negotiator.step(reports);
  EXPECT_TRUE(result.is_ok()) << result.status().message();
  return result.is_ok() ? std::move(result).value() : std::vector<Agreement>{};
}

std::string words(const std::vector<Agreement>& agreements) {
  std::string out;
  for (const Agreement& one : agreements)
    out += (out.empty() ? "" : " ") + one.declaration->name + (one.status.is_ok() ? "" : "!");
  return out;
}

// Ranks 0 and 2 of three.
class NegotiatorWithASet : public testing::Test {
 protected:
  void SetUp() override {
    const auto ended =
        step(negotiator_, {says({adding({0, 2})}), says({adding({0, 2})}), says({adding({0, 2})})});
    ASSERT_EQ(words(ended), "add");
    set_ = ended[0].number;
    ASSERT_NE(set_, 0);
  }

  Negotiator negotiator_{3};
  int set_ = 0;
};

TEST_F(NegotiatorWithASet, ItsMembersAgreeAmongThemselves) {
  EXPECT_EQ(words(step(negotiator_, {says({tensor("x", set_)}), Report{}, says({tensor("x", set_)})})), "x");
}

TEST_F(NegotiatorWithASet, ANameBelongsToItsSet) {
  const auto ended =
      step(negotiator_, {says({tensor("x"), tensor("x", set_)}), says({tensor("x")}), Report{}});
  EXPECT_EQ(words(ended), "");
  EXPECT_EQ(words(step(negotiator_, {Report{}, Report{}, says({tensor("x", set_), tensor("x")})})), "x x");
}

TEST_F(NegotiatorWithASet, AStrangerBreaksTheProtocol) {
  const auto result = negotiator_.step(std::vector<Report>{Report{}, says({tensor("x", set_)}), Report{}});
  EXPECT_EQ(result.status().code(), StatusCode::aborted);
}

TEST_F(NegotiatorWithASet, OnlyItsMembersAreMissed) {
  step(negotiator_, {says({tensor("x", set_)}), Report{}, Report{}});
  const auto waiting = negotiator_.waiting();
  ASSERT_EQ(waiting.size(), 1U);
  EXPECT_EQ(waiting[0].missing_ranks, std::vector<int>{2});
}

TEST_F(NegotiatorWithASet, WhatWaitsWhenItIsRemovedEndsWithAnError) {
  const Declaration removal = of_kind(OpKind::remove_process_set, "remove", set_);
  const auto ended =
      step(negotiator_, {says({tensor("x", set_), removal}), says({removal}), says({removal})});
  EXPECT_EQ(words(ended), "x! remove");
  EXPECT_NE(ended[0].status.message().find("removed while rank 0 waited for rank 2"), std::string::npos)
      << ended[0].status.message();
  // Its names are known until the round is over.
  EXPECT_TRUE(negotiator_.wire_id(tensor("x", set_)).has_value());
  EXPECT_EQ(negotiator_.process_sets().members(set_), nullptr);
  EXPECT_EQ(words(step(negotiator_, {says({removal}), says({removal}), says({removal})})), "remove!");
  EXPECT_FALSE(negotiator_.wire_id(tensor("x", set_)).has_value());
}

TEST_F(NegotiatorWithASet, DifferentMembersAreADisagreement) {
  const auto ended =
      step(negotiator_, {says({adding({0, 1})}), says({adding({0, 1})}), says({adding({1, 2})})});
  ASSERT_EQ(words(ended), "add!");
  EXPECT_NE(ended[0].status.message().find("ranks 0, 1 have [0, 1]; rank 2 has [1, 2]"), std::string::npos)
      << ended[0].status.message();
}

TEST_F(NegotiatorWithASet, JoinIsPerSet) {
  const Declaration join = of_kind(OpKind::join, "join", set_);
  EXPECT_EQ(words(step(negotiator_, {Report{}, Report{}, says({join})})), "");
  EXPECT_EQ(
      words(step(negotiator_, {says({tensor("all"), tensor("x", set_)}), says({tensor("all")}), Report{}})),
      "x");
  EXPECT_EQ(words(step(negotiator_, {says({join}), Report{}, Report{}})), "join");
}

TEST(NegotiatorJoin, OthersGoOnAndAllEndTogether) {
  const Declaration join = of_kind(OpKind::join, "join");
  Negotiator negotiator(3);
  EXPECT_EQ(words(step(negotiator, {says({tensor("a")}), says({tensor("a")}), Report{}})), "");
  EXPECT_EQ(words(step(negotiator, {Report{}, Report{}, says({join})})), "a");
  EXPECT_EQ(words(step(negotiator, {says({tensor("b"), join}), says({tensor("b")}), Report{}})), "b");
  EXPECT_EQ(words(step(negotiator, {Report{}, says({tensor("c")}), Report{}})), "c");
  const auto ended = step(negotiator, {Report{}, says({join}), Report{}});
  EXPECT_EQ(words(ended), "join");
  EXPECT_EQ(ended[0].number, 1);
  EXPECT_EQ(words(step(negotiator, {says({tensor("d")}), says({tensor("d")}), Report{}})), "");
  EXPECT_EQ(words(step(negotiator, {Report{}, Report{}, says({tensor("d")})})), "d");
}

TEST(NegotiatorJoin, WhatZerosMeanNothingToIsRefused) {
  const auto refusal = [](const Declaration& declaration, const std::vector<Extents>& extents = {}) {
    Negotiator negotiator(2);
    const auto ended =
        step(negotiator, {says({of_kind(OpKind::join, "join")}), says({declaration}, extents)});
    EXPECT_EQ(ended.size(), 1U);
    return ended.empty() ? std::string() : ended[0].status.message();
  };
  Declaration max = tensor("x");
  max.op = ReduceOp::max;
  EXPECT_NE(refusal(max).find("rank 0 has joined"), std::string::npos);
  EXPECT_NE(refusal(of_kind(OpKind::broadcast, "x")).find("root"), std::string::npos);
  EXPECT_NE(refusal(of_kind(OpKind::alltoall, "x"), {{1, 1}}).find("rows"), std::string::npos);
  Declaration from_1 = of_kind(OpKind::broadcast, "x");
  from_1.root = 1;
  EXPECT_EQ(refusal(from_1), "");
}

TEST(NegotiatorJoin, AJoinedRankGathersNoRows) {
  Negotiator negotiator(2);
  const auto ended = step(
      negotiator, {says({of_kind(OpKind::join, "join")}), says({of_kind(OpKind::allgather, "x")}, {{5}})});
  ASSERT_EQ(words(ended), "x");
  EXPECT_EQ(ended[0].extents, (std::vector<Extents>{{0}, {5}}));
}

TEST(NegotiatorGroup, EndsAsOne) {
  Negotiator negotiator(2);
  EXPECT_EQ(words(step(negotiator, {says({in_group("a", 2), in_group("b", 2), tensor("x")}),
                                    says({in_group("a", 2), tensor("x")})})),
            "x");
  EXPECT_EQ(words(step(negotiator, {Report{}, says({in_group("b", 2)})})), "a b");
}

TEST(NegotiatorGroup, OneErrorIsTheErrorOfAll) {
  Negotiator negotiator(2);
  Declaration other_shape = in_group("b", 2);
  other_shape.shape = {5};
  const auto ended =
      step(negotiator, {says({in_group("a", 2), in_group("b", 2)}), says({in_group("a", 2), other_shape})});
  EXPECT_EQ(words(ended), "a! b!");
  for (const Agreement& one : ended) EXPECT_NE(one.status.message().find("'b'"), std::string::npos);
}

TEST(NegotiatorGroup, RanksMustMeanTheSameGroup) {
  Negotiator negotiator(2);
  const auto ended = step(negotiator, {says({in_group("a", 1)}), says({tensor("a")})});
  EXPECT_EQ(words(ended), "a!");
  EXPECT_NE(ended[0].status.message().find("group"), std::string::npos) << ended[0].status.message();
}

}  // namespace
}  // namespace hvd
