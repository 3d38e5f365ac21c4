#include "tests/torch/example_runs.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <set>

namespace hvd {

std::filesystem::path programs() { return std::filesystem::read_symlink("/proc/self/exe").parent_path(); }

std::string hvdrun(int ranks) {
  return (programs() / "hvdrun").string() + " -np " + std::to_string(ranks) + " ";
}

bool has_mpirun() {
  return std::system("command -v mpirun >/dev/null") == 0 &&
         std::filesystem::exists(programs() / "../lib/horovod_cpp/hvd_mpi.so");
}

Outcome ExampleRuns::run(const std::string& example, const std::string& launcher,
                         const std::string& options) const {
  const std::string command =
      "OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 timeout 200 " + launcher +
      (programs() / example).string() + " " + options +
      (logs_losses() ? " --loss-log " + file("losses") : "") + " 2>&1 </dev/null";
  std::filesystem::remove(file("losses"));
  Outcome outcome;
  FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4096> piece{};
  while (std::fgets(piece.data(), piece.size(), pipe) != nullptr) outcome.output += piece.data();
  const int status = ::pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  std::ifstream in(file("losses"));
  for (double loss = 0; in >> loss;) outcome.losses.push_back(loss);
  return outcome;
}

Outcome ExampleRuns::run_well(const std::string& example, const std::string& launcher,
                              const std::string& options) const {
  auto outcome = run(example, launcher, options);
  EXPECT_EQ(outcome.exit_code, 0) << launcher << example << " " << options << "\n" << outcome.output;
  return outcome;
}

double largest_difference(const std::vector<double>& losses, const std::vector<double>& expected) {
  EXPECT_EQ(losses.size(), expected.size());
  double largest = 0;
  for (std::size_t i = 0; i < std::min(losses.size(), expected.size()); ++i)
    largest = std::max(largest, std::abs(losses[i] / expected[i] - 1));
  return largest;
}

void expect_same_losses(const std::vector<double>& losses, const std::vector<double>& expected,
                        double tolerance) {
  ASSERT_EQ(losses.size(), expected.size());
  for (std::size_t i = 0; i < losses.size(); ++i)
    EXPECT_LE(std::abs(losses[i] - expected[i]), tolerance * expected[i]) << "step " << i;
}

std::vector<std::string> digests(const std::string& output) {
  std::map<int, std::string> of_rank;
  const std::regex line("rank (\\d+) parameters ([0-9a-f]{16})");
  for (std::sregex_iterator match(output.begin(), output.end(), line), end; match != end; ++match)
    of_rank[std::stoi((*match)[1])] = (*match)[2];
  std::vector<std::string> found;
  for (const auto& [rank, digest] : of_rank) found.push_back(digest);
  return found;
}

std::string digest_of_all(const Outcome& outcome, int ranks) {
  const auto found = digests(outcome.output);
  EXPECT_EQ(found.size(), ranks) << outcome.output;
  EXPECT_EQ(std::set<std::string>(found.begin(), found.end()).size(), 1)
      << "ranks differ: " << outcome.output;
  return found.empty() ? "" : found.front();
}

}  // namespace hvd
