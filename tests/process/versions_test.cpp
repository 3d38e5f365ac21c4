// Two builds of the library in one job: on one rank another version, or another protocol, than on the others.
#include <gtest/gtest.h>

#include "horovod_cpp/base/text.h"
#include "tests/harness/process_job.h"

namespace hvd {
namespace {

constexpr int kRanks = 3;

std::size_t times(const std::string& words, const std::string& in) {
  std::size_t count = 0;
  for (std::size_t at = in.find(words); at != std::string::npos; at = in.find(words, at + 1)) ++count;
  return count;
}

// Three ranks of a program that is linked to libhorovod_cpp.so. `others`: the ranks that find the one in build/`folder` first, as a pattern.
ProcessResult run_with_builds(std::vector<std::string> launcher, const std::string& others,
                              const std::string& folder) {
  const std::string script = text("case ${HVD_RANK:-$OMPI_COMM_WORLD_RANK} in ", others,
                                  ") export LD_LIBRARY_PATH=", HVD_TEST_BUILD_FOLDER, '/', folder,
                                  ";; esac; exec ", program_folder(), "/hvd_rank_of_any_version");
  ProcessOptions options;
  options.launcher = std::move(launcher);
  options.launcher_arguments = {"sh", "-c", script};
  options.environment = {{"HVD_START_TIMEOUT", "100"}};
  options.time_limit = std::chrono::seconds(60);
  return run_processes(kRanks, "", options);
}

ProcessResult run_under_hvdrun(const std::string& others, const std::string& folder) {
  return run_with_builds({program_folder() + "/hvdrun", "-np", std::to_string(kRanks)}, others, folder);
}

// All of them (at least `told`) end with `words`, and soon: not when their patience ends.
void expect_told(const ProcessResult& result, const std::string& words, std::size_t told = kRanks) {
  EXPECT_NE(result.exit_code, 0);
  EXPECT_FALSE(result.timed_out);
  EXPECT_TRUE(result.leftovers.empty());
  EXPECT_EQ(result.out, "");
  EXPECT_GE(times("told: ", result.err), told);
  EXPECT_EQ(times(words, result.err), times("told: ", result.err));
  if (testing::Test::HasFailure()) ADD_FAILURE() << words << '\n' << result.describe();
}

TEST(Versions, ThatAreTheSameMeet) {
  const ProcessResult result = run_under_hvdrun("none", "other_version");
  EXPECT_TRUE(result.is_clean()) << result.describe();
  EXPECT_EQ(times("met\n", result.out), std::size_t{kRanks}) << result.describe();
}

TEST(Versions, OfOneRankThatDiffersIsToldOnAll) {
  for (const std::string rank : {"0", "1"}) {
    expect_told(run_under_hvdrun(rank, "other_version"),
                text("wrong version: rank ", rank, " has horovod_cpp ", HVD_TEST_OTHER_VERSION,
                     ", the launcher ", HVD_TEST_VERSION, "; install the same horovod_cpp everywhere"));
  }
}

TEST(Versions, OfAllRanksThatDifferFromTheLaunchersAreTold) {
  const ProcessResult result = run_under_hvdrun("*", "other_version");
  expect_told(result, text("has horovod_cpp ", HVD_TEST_OTHER_VERSION, ", the launcher ", HVD_TEST_VERSION));
}

// Of what another protocol says nothing but its number is known: not even the rank.
TEST(Versions, OfTheProtocolThatDifferAreToldOnAll) {
  expect_told(run_under_hvdrun("2", "other_protocol"),
              "wrong version: a rank speaks rendezvous protocol 99, the launcher 2; install the same "
              "horovod_cpp everywhere");
}

#ifdef HVD_TEST_WITH_MPI
// Each with the plugin that belongs to it: there is no launcher of ours that knows a version. mpirun ends the others with the first that has
// failed, who may not have come to say it.
TEST(Versions, UnderMpirunAreComparedByTheRanks) {
  expect_told(run_with_builds(mpirun_command(kRanks), "1", "other_version"),
              text("ranks disagree on the version of horovod_cpp: rank 0 has ", HVD_TEST_VERSION,
                   ", rank 1 has ", HVD_TEST_OTHER_VERSION, ", rank 2 has ", HVD_TEST_VERSION),
              1);
}
#endif

}  // namespace
}  // namespace hvd
