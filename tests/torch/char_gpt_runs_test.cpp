// The char_gpt example as users run it, with a model and steps that are small enough for four ranks on two
// cores. It learns the text that lies on this machine.
#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <vector>

#include "tests/torch/example_runs.h"

namespace hvd {
namespace {

const std::string kGpt = "char_gpt";
// Batches of 12: 1, 2, 3 and 4 ranks get equal parts.
const std::string kTinyModel = "--context 16 --width 16 --heads 2 --layers 2 --sample-length 40 ";
const std::string kTiny =
    kTinyModel + "--global-batch-size 12 --steps 50 --warmup-steps 5 --learning-rate 5e-3 ";
const std::string kDouble = "--precision float64 ";
const std::string kDigest = "--parameters-digest ";

using CharGptRuns = ExampleRuns;

// The loss on held-out text before and after training.
std::vector<double> held_out_losses(const std::string& output) {
  std::vector<double> found;
  const std::regex line("held-out loss (\\d+\\.\\d{4})");
  for (std::sregex_iterator match(output.begin(), output.end(), line), end; match != end; ++match)
    found.push_back(std::stod((*match)[1]));
  return found;
}

TEST_F(CharGptRuns, LearnFromTextOfThisMachineAndWriteSome) {
  const auto outcome = run_well(kGpt, hvdrun(2), kTiny + kDigest + "--prompt 'This License'");
  const auto held_out = held_out_losses(outcome.output);
  ASSERT_EQ(held_out.size(), 2) << outcome.output;
  EXPECT_LT(held_out.back(), held_out.front() - 0.5);
  digest_of_all(outcome, 2);
  const auto sample = outcome.output.find("---- sample\n[0] This License");
  ASSERT_NE(sample, std::string::npos) << outcome.output;
  EXPECT_GT(outcome.output.size() - sample, 60);
}

TEST_F(CharGptRuns, HaveTheSameLossCurveOnAnyNumberOfRanks) {
  const auto alone = run_well(kGpt, kAlone, kTiny + kDouble).losses;
  ASSERT_EQ(alone.size(), 50);
  EXPECT_LT(alone.back(), alone.front());
  for (const int ranks : {2, 3, 4}) {
    SCOPED_TRACE(ranks);
    expect_same_losses(run_well(kGpt, hvdrun(ranks), kTiny + kDouble).losses, alone, 1e-10);
  }
}

TEST_F(CharGptRuns, HaveTheSameLossCurveInSinglePrecisionAndTheSameBitsOnAllRanks) {
  const auto alone = run_well(kGpt, kAlone, kTiny).losses;
  ASSERT_EQ(alone.size(), 50);
  for (const int ranks : {2, 3, 4}) {
    SCOPED_TRACE(ranks);
    const auto outcome = run_well(kGpt, hvdrun(ranks), kTiny + kDigest);
    expect_same_losses(outcome.losses, alone, 1e-4);
    digest_of_all(outcome, ranks);
  }
}

TEST_F(CharGptRuns, EndWithTheSameBitsInEveryRunOverSharedMemory) {
  const auto once = [this] { return run_well(kGpt, kOverSharedMemory + hvdrun(3), kTiny + kDigest); };
  const auto first = once();
  const auto second = once();
  EXPECT_EQ(digest_of_all(first, 3), digest_of_all(second, 3));
  EXPECT_EQ(first.losses, second.losses);
}

TEST_F(CharGptRuns, ResumeWhereTheyStopped) {
  const std::string checkpoint = "--checkpoint " + file("checkpoint.pt") + " ";
  const auto whole = run_well(kGpt, hvdrun(2), kTiny + kDouble).losses;
  const auto first = run_well(kGpt, hvdrun(2), kTiny + kDouble + checkpoint + "--stop-after 20").losses;
  std::filesystem::copy_file(file("checkpoint.pt"), file("copy.pt"));
  const auto second = run_well(kGpt, hvdrun(2), kTiny + kDouble + checkpoint + "--resume").losses;
  ASSERT_EQ(whole.size(), 50);
  EXPECT_EQ(first, std::vector(whole.begin(), whole.begin() + 20));
  EXPECT_EQ(second, std::vector(whole.begin() + 20, whole.end()));

  const auto more_ranks =
      run_well(kGpt, hvdrun(3), kTiny + kDouble + "--resume --checkpoint " + file("copy.pt")).losses;
  expect_same_losses(more_ranks, second, 1e-10);
}

TEST_F(CharGptRuns, SayWhatIsWrong) {
  const auto expect_refused = [this](const std::string& options, const std::string& message) {
    const auto outcome = run(kGpt, hvdrun(2), kTinyModel + options);
    EXPECT_NE(outcome.exit_code, 0);
    EXPECT_NE(outcome.output.find("char_gpt: " + message), std::string::npos) << outcome.output;
    // The same on both ranks: that the other one has left is not what is wrong.
    EXPECT_EQ(outcome.output.find("shut down"), std::string::npos) << outcome.output;
  };
  expect_refused("--text /nowhere/book.txt", "cannot read the text /nowhere/book.txt");
  expect_refused("--resume --checkpoint " + file("none.pt"), "--resume: cannot read the checkpoint");
  expect_refused("--global-batch-size 1", "--global-batch-size 1 is less than the 2 ranks");
}

}  // namespace
}  // namespace hvd
