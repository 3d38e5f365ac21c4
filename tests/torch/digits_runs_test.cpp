// The digits example as users run it: alone, under hvdrun,
// under mpirun. Needs the data that `./dev build` unpacks.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace hvd {
namespace {

const std::filesystem::path kPrograms = std::filesystem::read_symlink("/proc/self/exe").parent_path();
const std::string kAlone;
const std::string kMpirun = "env LSAN_OPTIONS=detect_leaks=0 mpirun --oversubscribe -np 2 ";

std::string hvdrun(int ranks) {
  return (kPrograms / "hvdrun").string() + " -np " + std::to_string(ranks) + " ";
}

struct Outcome {
  int exit_code = -1;
  std::string output;  // both streams
};

Outcome run_digits(const std::string& launcher, const std::string& options) {
  const std::string command =
      "OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 timeout 200 " + launcher +
      (kPrograms / "digits").string() + " " + options + " 2>&1 </dev/null";
  Outcome outcome;
  FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4096> piece{};
  while (std::fgets(piece.data(), piece.size(), pipe) != nullptr) outcome.output += piece.data();
  const int status = ::pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

class DigitsRuns : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "hvd-test-digits-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string file(const std::string& name) const { return (folder_ / name).string(); }

  // The loss of each of 50 steps on batches of 60 images in float64.
  std::vector<double> curve(const std::string& launcher) {
    const auto outcome = run_digits(
        launcher, "--global-batch-size 60 --precision float64 --steps 50 --loss-log " + file("losses"));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    std::vector<double> losses;
    std::ifstream in(file("losses"));
    for (double loss = 0; in >> loss;) losses.push_back(loss);
    EXPECT_EQ(losses.size(), 50);
    std::filesystem::remove(file("losses"));
    return losses;
  }

  void expect_same_curve(const std::vector<double>& curve, const std::vector<double>& expected) {
    ASSERT_EQ(curve.size(), expected.size());
    for (std::size_t i = 0; i < curve.size(); ++i) {
      EXPECT_LE(std::abs(curve[i] - expected[i]), 1e-10 * expected[i]) << "step " << i;
    }
  }

  std::filesystem::path folder_;
};

// "rank 1 parameters 0123456789abcdef" on each rank.
std::vector<std::string> digests(const std::string& output) {
  std::vector<std::string> found;
  const std::regex line("rank \\d+ parameters ([0-9a-f]{16})");
  for (std::sregex_iterator match(output.begin(), output.end(), line), end; match != end; ++match)
    found.push_back((*match)[1]);
  return found;
}

double accuracy(const std::string& output) {
  std::smatch match;
  return std::regex_search(output, match, std::regex("test accuracy (\\d+\\.\\d) %\\s*$"))
             ? std::stod(match[1])
             : -1;
}

TEST_F(DigitsRuns, LearnOnTwoRanks) {
  const auto outcome = run_digits(hvdrun(2), "--parameters-digest");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_GE(accuracy(outcome.output), 97.5) << outcome.output;
  const auto all = digests(outcome.output);
  EXPECT_EQ(all.size(), 2);
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), 1) << "ranks differ: " << outcome.output;
}

TEST_F(DigitsRuns, HaveTheSameLossCurveOnAnyNumberOfRanks) {
  const auto alone = curve(kAlone);
  ASSERT_FALSE(alone.empty());
  EXPECT_LT(alone.back(), alone.front());
  for (const int ranks : {2, 3}) {
    SCOPED_TRACE(ranks);
    expect_same_curve(curve(hvdrun(ranks)), alone);
  }
}

TEST_F(DigitsRuns, HaveTheSameLossCurveUnderMpirun) {
  if (std::system("command -v mpirun >/dev/null") != 0 ||
      !std::filesystem::exists(kPrograms / "../lib/horovod_cpp/hvd_mpi.so")) {
    GTEST_SKIP() << "built without Open MPI";
  }
  const auto alone = curve(kAlone);
  expect_same_curve(curve(kMpirun), alone);
}

TEST_F(DigitsRuns, ResumeWhereTheyStopped) {
  const std::string options = "--global-batch-size 60 --parameters-digest ";
  const std::string checkpoint = "--checkpoint " + file("checkpoint.pt");
  const auto whole = digests(run_digits(hvdrun(2), options + "--epochs 4").output);
  const auto first = run_digits(hvdrun(2), options + "--epochs 2 " + checkpoint);
  EXPECT_EQ(first.exit_code, 0) << first.output;
  const auto second = run_digits(hvdrun(2), options + "--epochs 4 --resume " + checkpoint);
  EXPECT_EQ(second.exit_code, 0) << second.output;
  ASSERT_EQ(whole.size(), 2);
  EXPECT_EQ(digests(second.output), whole);
  EXPECT_NE(digests(first.output), whole);
}

TEST_F(DigitsRuns, ResumeWithTheEpochThatWasCut) {
  const std::string options = "--epochs 1 --checkpoint " + file("checkpoint.pt");
  const auto cut = run_digits(kAlone, options + " --steps 1");
  EXPECT_EQ(cut.exit_code, 0) << cut.output;
  const auto resumed = run_digits(kAlone, options + " --resume");
  EXPECT_EQ(resumed.exit_code, 0) << resumed.output;
  EXPECT_NE(resumed.output.find("epoch 1/1"), std::string::npos) << resumed.output;
}

TEST_F(DigitsRuns, SayWhatIsMissing) {
  const auto no_data = run_digits(hvdrun(2), "--data /nowhere/digits.csv");
  EXPECT_NE(no_data.exit_code, 0);
  EXPECT_NE(no_data.output.find("./dev build"), std::string::npos) << no_data.output;
  const auto no_checkpoint = run_digits(hvdrun(2), "--resume --checkpoint " + file("none.pt"));
  EXPECT_NE(no_checkpoint.exit_code, 0);
  EXPECT_NE(no_checkpoint.output.find("none.pt"), std::string::npos) << no_checkpoint.output;
}

}  // namespace
}  // namespace hvd
