#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "horovod_cpp/base/text.h"
#include "tests/bench/board.h"
#include "tests/bench/contender_table.h"
#include "tests/bench/gradients.h"
#include "tests/bench/machine.h"
#include "tests/bench/report.h"
#include "tests/bench/schedule.h"
#include "tests/bench/statistics.h"
#include "tests/bench/workload.h"

namespace hvd::bench {
namespace {

TEST(Workload, Resnet50HasThePublishedSize) {
  const Workload workload = resnet50();
  EXPECT_EQ(workload.tensors.size(), 161U);
  EXPECT_EQ(workload.element_count(), 25'557'032U);
  std::set<std::string> names;
  for (const auto& tensor : workload.tensors) names.insert(tensor.name);
  EXPECT_EQ(names.size(), 161U) << "names repeat";
  EXPECT_EQ(workload.tensors.front().shape, Shape{1000});
  EXPECT_EQ(workload.tensors.back().shape, (Shape{64, 3, 7, 7}));
}

std::size_t different_names(const Workload& workload) {
  std::set<std::string> names;
  for (const auto& tensor : workload.tensors) names.insert(tensor.name);
  return names.size();
}

TEST(Workload, Gpt2HasThePublishedSize) {
  const Workload workload = gpt2();
  EXPECT_EQ(workload.tensors.size(), 148U);
  EXPECT_EQ(workload.element_count(), 124'439'808U);
  EXPECT_EQ(different_names(workload), 148U);
}

TEST(Workload, StepsHaveTheParametersOfTheirModels) {
  EXPECT_EQ(mlp_step().element_count(), 784U * 1024 + 1024 + 1024 * 1024 + 1024 + 1024 * 10 + 10);
  EXPECT_EQ(char_gpt_step().tensors.size(), 2U + 4 * 8 + 2);
  EXPECT_EQ(different_names(char_gpt_step()), 36U);
  EXPECT_TRUE(mlp_step().is_step());
  EXPECT_TRUE(char_gpt_step().is_step());
  EXPECT_FALSE(gpt2().is_step());
  EXPECT_TRUE(workload_named("gpt2-adamw").value().is_step());
  EXPECT_EQ(gpt2_adamw().element_count(), gpt2().element_count());
}

TEST(Workload, ASweepGoesFrom1KiBTo256MiB) {
  const auto names = workload_names({"sweep", "resnet50"}).value();
  ASSERT_EQ(names.size(), 11U);
  EXPECT_EQ(names.front(), "single:256");
  EXPECT_EQ(names[9], "single:67108864");
  EXPECT_EQ(names.back(), "resnet50");
  EXPECT_NE(workload_names({"sweep", "resnet"}).status().message().find("'resnet'"), std::string::npos);
}

TEST(Workload, LinesSayNamesAndShapes) { EXPECT_EQ(to_lines({{"a", {3, 4}}, {"b", {5}}}), "a 3 4\nb 5\n"); }

TEST(Workload, NamesAreUnderstood) {
  EXPECT_EQ(workload_named("single:17").value().element_count(), 17U);
  EXPECT_EQ(workload_named("many-small").value().element_count(), 256'000U);
  for (const char* bad :
       {"", "single:", "single:0", "single:-1", "single:12x", "single:2147483648", "resnet"}) {
    EXPECT_FALSE(workload_named(bad).is_ok()) << bad;
  }
}

TEST(Gradients, VerifySeesOneWrongElement) {
  for (const Layout layout : {Layout::separate, Layout::contiguous}) {
    Gradients gradients({"two", {{"a", {3}}, {"b", {2, 2}}}, ""}, layout);
    gradients.fill(0, 5);
    EXPECT_TRUE(gradients.verify(1, 5, 1.0).is_ok());
    EXPECT_FALSE(gradients.verify(1, 6, 1.0).is_ok());
    EXPECT_FALSE(gradients.verify(2, 5, 1.0).is_ok());
    EXPECT_FALSE(gradients.verify(1, 5, 0.5).is_ok());
    gradients.tensors()[1][3] += 1.0F;
    EXPECT_FALSE(gradients.verify(1, 5, 1.0).is_ok());
  }
}

TEST(Gradients, VerifyLooksAtEveryElement) {
  Gradients gradients({"one", {{"a", {150}}}, ""}, Layout::separate);
  for (std::size_t i = 0; i < 150; ++i) {
    gradients.fill(0, 2);
    gradients.tensors()[0][i] += 1.0F;
    EXPECT_FALSE(gradients.verify(1, 2, 1.0).is_ok()) << i;
  }
  gradients.fill(0, 2);
  gradients.tensors()[0][7] = std::nanf("");
  EXPECT_FALSE(gradients.verify(1, 2, 1.0).is_ok());
}

TEST(Gradients, MemoryThatWasGivenBackCanBeFilledAgain) {
  Gradients gradients(single(100'000), Layout::contiguous);
  gradients.fill(0, 1);
  gradients.give_back();
  EXPECT_FALSE(gradients.verify(1, 1, 1.0).is_ok());
  gradients.fill(0, 2);
  EXPECT_TRUE(gradients.verify(1, 2, 1.0).is_ok());
}

TEST(Gradients, SumsOverRanksAreAsVerifyExpects) {
  const Workload workload = single(200);
  Gradients sum(workload, Layout::contiguous);
  Gradients other(workload, Layout::contiguous);
  sum.fill(0, 3);
  for (int rank = 1; rank < 3; ++rank) {
    other.fill(rank, 3);
    for (std::size_t i = 0; i < 200; ++i) sum.all()[i] += other.all()[i];
  }
  EXPECT_TRUE(sum.verify(3, 3, 1.0).is_ok());
}

TEST(Statistics, Quantiles) {
  const std::vector<double> values{5, 1, 3, 2, 4};
  EXPECT_DOUBLE_EQ(median(values), 3);
  EXPECT_DOUBLE_EQ(quantile(values, 0), 1);
  EXPECT_DOUBLE_EQ(quantile(values, 1), 5);
  EXPECT_DOUBLE_EQ(quantile(values, 0.1), 1.4);
  EXPECT_DOUBLE_EQ(median(std::vector<double>{1, 2}), 1.5);
}

TEST(Statistics, PairedRatioIgnoresWhatBothShare) {
  std::vector<double> denominators;
  std::vector<double> numerators;
  for (int i = 0; i < 20; ++i) {
    denominators.push_back(1 + i % 7);
    numerators.push_back(0.5 * denominators.back());
  }
  const Interval same = paired_ratio(numerators, denominators, 1);
  EXPECT_DOUBLE_EQ(same.low, 0.5);
  EXPECT_DOUBLE_EQ(same.middle, 0.5);
  EXPECT_DOUBLE_EQ(same.high, 0.5);
  numerators[3] *= 3;
  numerators[8] *= 0.2;
  const Interval spread = paired_ratio(numerators, denominators, 1);
  EXPECT_LE(spread.low, spread.middle);
  EXPECT_LE(spread.middle, spread.high);
  EXPECT_DOUBLE_EQ(spread.middle, 0.5);
}

TEST(Statistics, TheSameSeedGivesTheSameInterval) {
  const std::vector<double> a{3, 1, 4, 1, 5, 9, 2, 6};
  const std::vector<double> b{2, 7, 1, 8, 2, 8, 1, 8};
  EXPECT_EQ(paired_ratio(a, b, 5).low, paired_ratio(a, b, 5).low);
  EXPECT_EQ(paired_ratio(a, b, 5).high, paired_ratio(a, b, 5).high);
}

TEST(Schedule, ShortOperationsAreRepeatedLongOnesAreNot) {
  EXPECT_GT(repetitions_in_a_turn(single(256)), repetitions_in_a_turn(single(1U << 18U)));
  EXPECT_EQ(repetitions_in_a_turn(single(64U << 20U)), 1);
  EXPECT_EQ(repetitions_in_a_turn(many_small()), 1);
  EXPECT_EQ(repetitions_in_a_turn(mlp_step()), 1);
  for (std::size_t elements = 1; elements < (1U << 28U); elements *= 2)
    EXPECT_LE(repetitions_in_a_turn(single(elements)), kMostRepetitions);
}

TEST(Schedule, MemoryIsGivenBackWhereAllTogetherWouldFillIt) {
  constexpr std::uint64_t kGiB = std::uint64_t{1} << 30U;
  const Workload large = single(64U << 20U);  // 256 MiB
  EXPECT_FALSE(must_give_back(large, 2, 4, 24 * kGiB));
  EXPECT_TRUE(must_give_back(large, 8, 4, 24 * kGiB));
  EXPECT_TRUE(fits(large, 8, 24 * kGiB));
  EXPECT_FALSE(fits(large, 8, 8 * kGiB));
}

TEST(Schedule, DisturbedRoundsAreNamed) {
  std::vector<RoundNotes> rounds(10, {.wall_seconds = 0.3, .foreign_seconds = 0.01, .steal_seconds = 0});
  EXPECT_TRUE(disturbed_rounds(rounds, 2).empty());
  rounds[3].foreign_seconds = 0.2;
  rounds[7].steal_seconds = 0.1;
  EXPECT_EQ(disturbed_rounds(rounds, 2), (std::vector<int>{3, 7}));
  EXPECT_EQ(disturbed_rounds(rounds, 8), (std::vector<int>{3}));
}

TEST(Schedule, ShortRoundsAreLookedAtTogether) {
  std::vector<RoundNotes> rounds(100, {.wall_seconds = 0.01, .foreign_seconds = 0, .steal_seconds = 0});
  rounds[5].foreign_seconds = 0.01;  // one tick: the clock's grain
  EXPECT_TRUE(disturbed_rounds(rounds, 2).empty());
  for (std::size_t i = 40; i < 60; ++i) rounds[i].foreign_seconds = 0.01;
  const auto named = disturbed_rounds(rounds, 2);
  EXPECT_EQ(named.size(), 20U);
  EXPECT_EQ(named.front(), 40);
}

TEST(Machine, CpuTimesAreRead) {
  const CpuTimes times = parse_cpu_times("cpu  100 20 3 5000 600 7 8 9 50 0", 100);
  EXPECT_DOUBLE_EQ(times.busy_seconds, 1.38);
  EXPECT_DOUBLE_EQ(times.steal_seconds, 0.09);
}

Cell example_cell() {
  Cell cell{.workload = "resnet50", .batch = "", .tensors = 161, .bytes = 102'228'128, .ranks = 4};
  cell.rows = {{.key = "first", .title = "the first", .seconds = {0.2, 0.2, 0.2}},
               {.key = "second", .title = "half \"<of>\" it", .seconds = {0.1, 0.1, 0.1}}};
  cell.left_out = {{"third", "not installed"}, {"fourth", "not installed"}, {"fifth", "died"}};
  cell.rounds = {{0.4, 0.3, 0}, {0.4, 0, 0}, {0.4, 0, 0}};
  return cell;
}

Outcome example_outcome() {
  Outcome outcome;
  outcome.machine.cores = 2;
  outcome.machine.cpu = "a CPU";
  outcome.rounds = 3;
  outcome.cells = {example_cell()};
  return outcome;
}

TEST(Report, TheTableHasRatiosReasonsAndDisturbances) {
  const std::string table = as_table(example_outcome());
  for (const char* words : {"resnet50, 161 tensors, 102.2 MB of float32, 4 ranks", "second: half", "100.00",
                            "0.500 [0.500, 0.500]", "without third, fourth: not installed",
                            "without fifth: died", "1 of 3 rounds disturbed (0)"}) {
    EXPECT_NE(table.find(words), std::string::npos) << words << " is not in\n" << table;
  }
}

TEST(Report, ThePageIsWholeAndHasNothingToRun) {
  Outcome outcome = example_outcome();
  for (const std::size_t bytes : {1024U, 4096U}) {
    Cell cell = example_cell();
    cell.workload = text("single:", bytes / 4);
    cell.bytes = bytes;
    outcome.cells.push_back(cell);
  }
  const std::string page = as_html(outcome);
  EXPECT_NE(page.find("<polyline"), std::string::npos);
  EXPECT_NE(page.find("<rect"), std::string::npos);
  EXPECT_NE(page.find("half &quot;&lt;of&gt;&quot; it"), std::string::npos);
  for (const char* never : {"<of>", "<script", "http:", "https:", "nan", "inf"})
    EXPECT_EQ(page.find(never), std::string::npos) << never;
  const auto count = [&](const std::string& words) {
    std::size_t found = 0;
    for (auto at = page.find(words); at != page.npos; at = page.find(words, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("<svg"), 4U);
  EXPECT_EQ(count("<svg"), count("</svg>"));
  EXPECT_EQ(count("<table"), count("</table>"));
}

TEST(Report, ACellWithoutRowsIsNoError) {
  Outcome outcome = example_outcome();
  outcome.cells[0].rows.clear();
  EXPECT_NE(as_table(outcome).find("without"), std::string::npos);
  EXPECT_NE(as_json(outcome).find("\"rows\": []"), std::string::npos);
  EXPECT_NE(as_html(outcome).find("without"), std::string::npos);
}

TEST(Report, BytesInWords) {
  EXPECT_EQ(bytes_in_words(1024), "1 KiB");
  EXPECT_EQ(bytes_in_words(256U << 20U), "256 MiB");
  EXPECT_EQ(bytes_in_words(12), "12 B");
  EXPECT_EQ(bytes_in_words(102'228'128), "102.2 MB");
}

TEST(ContenderTable, WhatIsMissingIsSaid) {
  std::set<std::string> keys;
  for (const auto& row : contender_table()) {
    EXPECT_TRUE(keys.insert(row.key).second) << row.key;
    EXPECT_EQ(find_contender(row.key), &row);
    const Result<StartPlan> plan = start_plan(
        row, 2,
        {.bin = "/nowhere", .sources = "/nowhere", .python = "", .peers = "", .scratch = "/tmp", .cores = 2});
    EXPECT_EQ(plan.status().code(), StatusCode::unavailable) << row.key;
  }
  EXPECT_EQ(find_contender("nobody"), nullptr);
}

}  // namespace
}  // namespace hvd::bench
