// The small pure parts around the negotiator: declarations, reports, fusion, stalls.
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/declaration.h"
#include "horovod_cpp/coordinator/declaration_table.h"
#include "horovod_cpp/coordinator/fusion_planner.h"
#include "horovod_cpp/coordinator/report.h"
#include "horovod_cpp/coordinator/stall_monitor.h"
#include "tests/harness/seed.h"

namespace hvd {
namespace {

Declaration tensor(const std::string& name, std::int64_t count, DataType dtype = DataType::float32) {
  Declaration declaration;
  declaration.name = name;
  declaration.shape = {count};
  declaration.dtype = dtype;
  return declaration;
}

Agreement agreed(Declaration declaration, Status status = {}) {
  return {0, std::make_shared<const Declaration>(std::move(declaration)), std::move(status), {}, 0};
}

TEST(Declaration, RefusesWhatHasNoMeaning) {
  const auto message = [](const Declaration& declaration) {
    return validate(declaration, 1, std::vector<int>{0, 1, 2, 3}).message();
  };
  EXPECT_EQ(message(tensor("a", 3)), "");
  EXPECT_NE(message(tensor("", 3)).find("the name is empty"), std::string::npos);
  EXPECT_NE(message(tensor("a", -1)).find("negative dimension"), std::string::npos);
  EXPECT_NE(message(tensor("a", 3, DataType::int32)).find("average of int32"), std::string::npos);
  Declaration nan = tensor("a", 3);
  nan.prescale = std::numeric_limits<double>::quiet_NaN();
  EXPECT_NE(message(nan).find("finite"), std::string::npos);
  Declaration root = tensor("a", 3);
  root.kind = OpKind::broadcast;
  root.root = 4;
  EXPECT_EQ(message(root), "rank 1, broadcast 'a': root rank 4: expected 0 to 3");
  Declaration scalar = tensor("a", 3);
  scalar.kind = OpKind::reducescatter;
  scalar.shape = {};
  EXPECT_NE(message(scalar).find("0-d"), std::string::npos);
  Declaration giant = tensor("a", std::int64_t{1} << 40U);
  giant.shape.push_back(std::int64_t{1} << 40U);
  EXPECT_NE(message(giant).find("larger than any memory"), std::string::npos);
  giant.shape.push_back(0);
  EXPECT_EQ(message(giant), "");
  EXPECT_EQ(element_count(giant.shape), 0);
  Declaration everybody = tensor("a", 3);
  everybody.kind = OpKind::remove_process_set;
  EXPECT_NE(message(everybody).find("cannot be removed"), std::string::npos);
  Declaration members = tensor("a", 3);
  members.kind = OpKind::add_process_set;
  for (const std::vector<int>& ranks : {std::vector<int>{}, {0, 4}, {-1}, {1, 0}, {1, 1}}) {
    members.ranks = ranks;
    EXPECT_NE(message(members), "");
  }
}

TEST(Declaration, ASetHasItsOwnRoots) {
  Declaration root = tensor("a", 3);
  root.kind = OpKind::broadcast;
  root.process_set = 5;
  root.root = 2;
  EXPECT_EQ(validate(root, 1, std::vector<int>{1, 3}).message(),
            "rank 1, broadcast 'a' of process set 5: root rank 2: expected one of ranks 1, 3");
  EXPECT_NE(validate(root, 0, std::vector<int>{1, 3}).message().find("not a member"), std::string::npos);
}

TEST(Declaration, ExtentsMustFit) {
  const auto fits = [](OpKind kind, const Extents& extents) {
    Declaration declaration = tensor("a", 3);
    declaration.kind = kind;
    return validate(declaration, extents, 1, 4).is_ok();
  };
  EXPECT_TRUE(fits(OpKind::allreduce, {}));
  EXPECT_FALSE(fits(OpKind::allreduce, {1}));
  EXPECT_TRUE(fits(OpKind::allgather, {0}));
  EXPECT_FALSE(fits(OpKind::allgather, {}));
  EXPECT_FALSE(fits(OpKind::allgather, {-1}));
  EXPECT_TRUE(fits(OpKind::allgather, {std::int64_t{1} << 40U}));
  EXPECT_FALSE(fits(OpKind::allgather, {std::int64_t{1} << 47U}));
  EXPECT_FALSE(fits(OpKind::allgather, {std::numeric_limits<std::int64_t>::max()}));
  EXPECT_TRUE(fits(OpKind::alltoall, {1, 0, 2, 3}));
  EXPECT_FALSE(fits(OpKind::alltoall, {1, 0, 2}));
}

TEST(Declaration, ReducescatterDividesRowsEvenly) {
  EXPECT_EQ(reducescatter_rows(7, 3), (std::vector<std::int64_t>{3, 2, 2}));
  EXPECT_EQ(reducescatter_rows(2, 3), (std::vector<std::int64_t>{1, 1, 0}));
  EXPECT_EQ(reducescatter_rows(0, 2), (std::vector<std::int64_t>{0, 0}));
}

TEST(Declaration, AverageBecomesASumWithAScale) {
  Declaration d = tensor("a", 3);
  d.prescale = 3.0;
  d.postscale = 2.0;
  EXPECT_EQ(effective_reduction(d, 4).op, ReduceOp::sum);
  EXPECT_EQ(effective_reduction(d, 4).scale, 1.5);
  d.op = ReduceOp::product;
  EXPECT_EQ(effective_reduction(d, 2).scale, 18.0);
  d.op = ReduceOp::min;
  d.prescale = -1.0;
  EXPECT_EQ(effective_reduction(d, 2).op, ReduceOp::max);
  EXPECT_EQ(effective_reduction(d, 2).scale, -2.0);
}

TEST(DeclarationTable, OneNameOnePendingOperation) {
  DeclarationTable table(0, 2);
  const auto id = table.declare(tensor("a", 3));
  ASSERT_TRUE(id.is_ok());
  EXPECT_EQ(table.declare(tensor("a", 3)).value().index, id.value().index);
  ASSERT_TRUE(table.begin(id.value()).is_ok());
  EXPECT_EQ(table.begin(id.value()).status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(table.declare(tensor("a", 4)).status().code(), StatusCode::invalid_argument);
  table.end(id.value());
  const auto grown = table.declare(tensor("a", 4));
  ASSERT_TRUE(grown.is_ok());
  EXPECT_NE(grown.value().index, id.value().index);
  EXPECT_EQ(table.declare(tensor("a", 3)).value().index, id.value().index);
  EXPECT_EQ(table.begin(TensorId{17}).status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(table.begin(TensorId{}).status().code(), StatusCode::invalid_argument);
}

TEST(DeclarationTable, ASetIsThereFromItsAdditionToItsRemoval) {
  DeclarationTable table(0, 3);
  Declaration in_set = tensor("a", 3);
  in_set.process_set = 1;
  EXPECT_EQ(table.declare(in_set).status().code(), StatusCode::invalid_argument);
  table.add_process_set({0, 2});
  const auto id = table.declare(in_set);
  ASSERT_TRUE(id.is_ok()) << id.status().message();
  // The same name in another set is another operation.
  const auto of_all = table.declare(tensor("a", 3));
  ASSERT_TRUE(table.begin(of_all.value()).is_ok());
  ASSERT_TRUE(table.begin(id.value()).is_ok());
  table.end(id.value());
  Declaration removal = tensor("remove", 0);
  removal.kind = OpKind::remove_process_set;
  removal.process_set = 1;
  const auto removing = table.declare(removal);
  ASSERT_TRUE(table.begin(removing.value()).is_ok());
  EXPECT_EQ(table.begin(id.value()).status().code(), StatusCode::invalid_argument);
  table.remove_process_set(1);
  EXPECT_EQ(table.declare(in_set).status().code(), StatusCode::invalid_argument);
  EXPECT_FALSE(table.members(1).has_value());
  removal.process_set = 0;
  EXPECT_EQ(table.declare(removal).status().code(), StatusCode::invalid_argument);
}

TEST(Report, SurvivesTheWire) {
  Report report;
  report.is_leaving = true;
  report.declarations = {tensor("weight", 7, DataType::bfloat16)};
  report.declarations[0].shape = {3, 0, 5};
  report.declarations[0].prescale = 0.1;
  report.declarations[0].device = {DeviceType::cuda, 3};
  report.declarations[0].process_set = 7;
  report.declarations[0].ranks = {1, 4};
  report.declarations[0].group = "layers";
  report.declarations[0].group_size = 2;
  report.ready = {{false, 41, {5, 0}}, {true, 0, {}}};
  const auto back = decode_report(encode(report));
  ASSERT_TRUE(back.is_ok()) << back.status().message();
  EXPECT_TRUE(back.value().is_leaving);
  EXPECT_EQ(back.value().declarations, report.declarations);
  ASSERT_EQ(back.value().ready.size(), 2U);
  EXPECT_EQ(back.value().ready[0].index, 41U);
  EXPECT_EQ(back.value().ready[0].extents, (Extents{5, 0}));
  EXPECT_TRUE(back.value().ready[1].is_declared_here);
  EXPECT_TRUE(back.value().ready[1].extents.empty());
}

TEST(Report, AnyTruncationAndAnyNoiseIsRefusedOrDecoded) {
  Report report;
  report.declarations = {tensor("a", 1), tensor("b", 2)};
  report.ready = {{true, 0, {3}}, {true, 1, {}}};
  const Bytes good = encode(report);
  for (std::size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(decode_report(std::span(good).first(length)).is_ok()) << length;
  }
  for_each_seed(5, 20000, [&](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    Bytes noise = good;
    for (int i = 0; i < 4; ++i) noise[random() % noise.size()] = static_cast<std::byte>(random());
    const auto decoded = decode_report(noise);
    EXPECT_EQ(decoded.status().code(), decoded.is_ok() ? StatusCode::ok : StatusCode::aborted);
  });
}

TEST(FusionPlanner, JoinsLikeOperationsUpToTheThreshold) {
  const std::vector<Agreement> agreements{agreed(tensor("a", 10)), agreed(tensor("b", 10)),
                                          agreed(tensor("c", 10))};
  EXPECT_EQ(plan_fusion(agreements, 80), (std::vector<Batch>{{0, 1}, {2}}));
  EXPECT_EQ(plan_fusion(agreements, 1000), (std::vector<Batch>{{0, 1, 2}}));
  EXPECT_EQ(plan_fusion(agreements, 0), (std::vector<Batch>{{0}, {1}, {2}}));
}

TEST(FusionPlanner, LooksPastOtherTypesAndLeavesErrorsOut) {
  const std::vector<Agreement> agreements{agreed(tensor("a", 10)), agreed(tensor("x", 10, DataType::float64)),
                                          agreed(tensor("bad", 10), Status::mismatch("no")),
                                          agreed(tensor("b", 10)),
                                          agreed(tensor("y", 10, DataType::float64))};
  EXPECT_EQ(plan_fusion(agreements, 1000), (std::vector<Batch>{{0, 3}, {1, 4}}));
}

TEST(FusionPlanner, KeepsProcessSetsAndGathersApart) {
  Declaration in_set = tensor("in_set", 1);
  in_set.process_set = 1;
  Declaration gather = tensor("gather", 1);
  gather.kind = OpKind::allgather;
  const std::vector<Agreement> agreements{agreed(tensor("a", 1)), agreed(in_set), agreed(gather),
                                          agreed(gather)};
  EXPECT_EQ(plan_fusion(agreements, 1000).size(), 4U);
}

TEST(FusionPlanner, KeepsApartWhatDiffersInReductionOrRoot) {
  Declaration sum = tensor("sum", 1);
  sum.op = ReduceOp::sum;
  Declaration scaled = tensor("scaled", 1);
  scaled.postscale = 0.5;
  Declaration from_0 = tensor("from_0", 1);
  from_0.kind = OpKind::broadcast;
  Declaration from_1 = from_0;
  from_1.root = 1;
  const std::vector<Agreement> agreements{agreed(tensor("a", 1)), agreed(sum), agreed(scaled), agreed(from_0),
                                          agreed(from_1)};
  EXPECT_EQ(plan_fusion(agreements, 1000).size(), 5U);
}

TEST(StallMonitor, WarnsOnceAndEndsOnlyIfAsked) {
  using std::chrono::seconds;
  const Declaration declaration = tensor("a", 1);
  const std::vector<Negotiator::Waiting> waiting{{&declaration, {0, 2}, {1}}};
  const Clock::time_point start{};
  StallMonitor monitor(0, seconds(60), seconds(100));
  EXPECT_TRUE(monitor.check(start, waiting).warnings.empty());
  EXPECT_TRUE(monitor.check(start + seconds(59), waiting).warnings.empty());
  const auto warned = monitor.check(start + seconds(60), waiting);
  ASSERT_EQ(warned.warnings.size(), 1U);
  EXPECT_NE(warned.warnings[0].find("allreduce 'a' has waited 60 s: submitted by ranks 0, 2, not by rank 1"),
            std::string::npos)
      << warned.warnings[0];
  EXPECT_TRUE(monitor.check(start + seconds(99), waiting).warnings.empty());
  EXPECT_TRUE(monitor.check(start + seconds(99), waiting).end.is_ok());
  const auto ended =
      monitor.check(start + seconds(100), waiting, [](int rank) { return text("trouble of ", rank); });
  EXPECT_EQ(ended.end.code(), StatusCode::aborted);
  EXPECT_NE(ended.end.message().find("not by rank 1; rank 1: trouble of 1; ended"), std::string::npos)
      << ended.end.message();

  StallMonitor other_rank(2, seconds(60), seconds(0));
  static_cast<void>(other_rank.check(start, waiting));
  EXPECT_TRUE(other_rank.check(start + seconds(1000), waiting).warnings.empty());
  EXPECT_TRUE(other_rank.check(start + seconds(1000), waiting).end.is_ok());
}

TEST(StallMonitor, ForgetsWhatWentOn) {
  using std::chrono::seconds;
  const Declaration declaration = tensor("a", 1);
  const std::vector<Negotiator::Waiting> waiting{{&declaration, {0}, {1}}};
  const Clock::time_point start{};
  StallMonitor monitor(0, seconds(60), seconds(0));
  static_cast<void>(monitor.check(start, waiting));
  static_cast<void>(monitor.check(start + seconds(30), {}));
  static_cast<void>(monitor.check(start + seconds(40), waiting));
  EXPECT_TRUE(monitor.check(start + seconds(90), waiting).warnings.empty());
  EXPECT_EQ(monitor.check(start + seconds(100), waiting).warnings.size(), 1U);
}

}  // namespace
}  // namespace hvd
