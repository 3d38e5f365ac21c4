#include <gtest/gtest.h>

#include <set>

#include "tests/bench/gradients.h"
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

TEST(Workload, NamesAreUnderstood) {
  EXPECT_EQ(workload_named("single:17").value().element_count(), 17U);
  EXPECT_EQ(workload_named("many-small").value().element_count(), 256'000U);
  for (const char* bad : {"", "single:", "single:0", "single:-1", "single:12x", "resnet"}) {
    EXPECT_FALSE(workload_named(bad).is_ok()) << bad;
  }
}

TEST(Gradients, VerifySeesOneWrongElement) {
  for (const Layout layout : {Layout::separate, Layout::contiguous}) {
    Gradients gradients({"two", {{"a", {3}}, {"b", {2, 2}}}}, layout);
    gradients.fill(0, 5);
    EXPECT_TRUE(gradients.verify(1, 5, 1.0).is_ok());
    EXPECT_FALSE(gradients.verify(1, 6, 1.0).is_ok());
    EXPECT_FALSE(gradients.verify(2, 5, 1.0).is_ok());
    EXPECT_FALSE(gradients.verify(1, 5, 0.5).is_ok());
    gradients.tensors()[1][3] += 1.0F;
    EXPECT_FALSE(gradients.verify(1, 5, 1.0).is_ok());
  }
}

TEST(Gradients, SumsOverRanksAreAsVerifyExpects) {
  const Workload workload{"one", {{"a", {200}}}};
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

}  // namespace
}  // namespace hvd::bench
