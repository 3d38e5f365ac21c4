// The digits example as users run it: alone, under hvdrun,
// under mpirun. Needs the data that `./dev build` unpacks.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "tests/torch/example_runs.h"

namespace hvd {
namespace {

const std::string kDigits = "digits";
// Batches of 60 images: 1, 2, 3 and 4 ranks get equal parts.
const std::string kSameBatches = "--global-batch-size 60 --steps 50 ";
const std::string kDouble = "--precision float64 ";
const std::string kDigest = "--parameters-digest ";

using DigitsRuns = ExampleRuns;

double accuracy(const std::string& output) {
  std::smatch match;
  return std::regex_search(output, match, std::regex("test accuracy (\\d+\\.\\d) %\\s*$"))
             ? std::stod(match[1])
             : -1;
}

TEST_F(DigitsRuns, LearnOnTwoRanks) {
  const auto outcome = run_well(kDigits, hvdrun(2), "--parameters-digest");
  EXPECT_GE(accuracy(outcome.output), 97.5) << outcome.output;
  digest_of_all(outcome, 2);
}

TEST_F(DigitsRuns, HaveTheSameLossCurveOnAnyNumberOfRanks) {
  const auto alone = run_well(kDigits, kAlone, kSameBatches + kDouble).losses;
  ASSERT_EQ(alone.size(), 50);
  EXPECT_LT(alone.back(), alone.front());
  for (const int ranks : {2, 3, 4}) {
    SCOPED_TRACE(ranks);
    expect_same_losses(run_well(kDigits, hvdrun(ranks), kSameBatches + kDouble).losses, alone, 1e-10);
  }
}

// Losses differ by 1e-6 and less, until rounding decides a tie of two maxima, or on which side of zero something is: that is 4e-4 in one
// of eighteen runs on one machine. So the curves of two of three seeds must agree.
TEST_F(DigitsRuns, HaveTheSameLossCurveInSinglePrecisionAndTheSameBitsOnAllRanks) {
  std::map<int, std::vector<double>> differences;
  for (const char* seed : {"--seed 3 ", "--seed 5 ", "--seed 6 "}) {
    const auto alone = run_well(kDigits, kAlone, kSameBatches + seed).losses;
    ASSERT_EQ(alone.size(), 50);
    for (const int ranks : {2, 3, 4}) {
      SCOPED_TRACE(ranks);
      const auto outcome = run_well(kDigits, hvdrun(ranks), kSameBatches + kDigest + seed);
      differences[ranks].push_back(largest_difference(outcome.losses, alone));
      digest_of_all(outcome, ranks);
    }
  }
  for (auto& [ranks, of_seeds] : differences) {
    std::sort(of_seeds.begin(), of_seeds.end());
    EXPECT_LE(of_seeds[1], 1e-4) << ranks << " ranks";
  }
}

TEST_F(DigitsRuns, EndWithTheSameBitsInEveryRunOverSharedMemory) {
  const auto once = [this] {
    return run_well(kDigits, kOverSharedMemory + hvdrun(3), kSameBatches + kDigest);
  };
  const auto first = once();
  const auto second = once();
  EXPECT_EQ(digest_of_all(first, 3), digest_of_all(second, 3));
  EXPECT_EQ(first.losses, second.losses);
}

TEST_F(DigitsRuns, HaveTheSameLossCurveUnderMpirun) {
  if (!has_mpirun()) GTEST_SKIP() << "built without Open MPI";
  const auto alone = run_well(kDigits, kAlone, kSameBatches + kDouble).losses;
  ASSERT_EQ(alone.size(), 50);
  expect_same_losses(run_well(kDigits, kMpirun, kSameBatches + kDouble).losses, alone, 1e-10);
}

TEST_F(DigitsRuns, ResumeWhereTheyStopped) {
  const std::string options = "--global-batch-size 60 --parameters-digest ";
  const std::string checkpoint = "--checkpoint " + file("checkpoint.pt");
  const auto whole = digest_of_all(run_well(kDigits, hvdrun(2), options + "--epochs 4"), 2);
  const auto first = digest_of_all(run_well(kDigits, hvdrun(2), options + "--epochs 2 " + checkpoint), 2);
  const auto second =
      digest_of_all(run_well(kDigits, hvdrun(2), options + "--epochs 4 --resume " + checkpoint), 2);
  EXPECT_EQ(second, whole);
  EXPECT_NE(first, whole);
}

TEST_F(DigitsRuns, ResumeWithTheEpochThatWasCut) {
  const std::string options = "--epochs 1 --checkpoint " + file("checkpoint.pt");
  run_well(kDigits, kAlone, options + " --steps 1");
  const auto resumed = run_well(kDigits, kAlone, options + " --resume");
  EXPECT_NE(resumed.output.find("epoch 1/1"), std::string::npos) << resumed.output;
}

TEST_F(DigitsRuns, SayWhatIsMissing) {
  const auto no_data = run(kDigits, hvdrun(2), "--data /nowhere/digits.csv");
  EXPECT_NE(no_data.exit_code, 0);
  EXPECT_NE(no_data.output.find("./dev build"), std::string::npos) << no_data.output;
  const auto no_checkpoint = run(kDigits, hvdrun(2), "--resume --checkpoint " + file("none.pt"));
  EXPECT_NE(no_checkpoint.exit_code, 0);
  EXPECT_NE(no_checkpoint.output.find("none.pt"), std::string::npos) << no_checkpoint.output;
}

}  // namespace
}  // namespace hvd
