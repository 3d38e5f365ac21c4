#include "tests/harness/process_job.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "horovod_cpp/base/text.h"
#include "tests/harness/process_case.h"

namespace hvd {
namespace {

// Launchers of a few words, so that what the harness sees does not depend on hvdrun being right.
std::vector<std::string> shell_launcher(const std::string& script) {
  return {"sh", "-c", script, "launcher"};
}

std::vector<std::string> waiting_launcher(int n) {
  return shell_launcher(text(
      "pids=; for r in $(seq 0 ", n - 1, "); do HVD_RANK=$r HVD_SIZE=", n,
      " \"$@\" & pids=\"$pids $!\"; done; code=0; for p in $pids; do wait $p || code=$?; done; exit $code"));
}

ProcessOptions with(std::vector<std::string> launcher) {
  ProcessOptions options;
  options.launcher = std::move(launcher);
  return options;
}

HVD_PROCESS_CASE(says_who_it_is) {
  std::cout << text("out of ", process_rank(), " of ", process_size(), "\n");
  std::cerr << text("err of ", process_rank(), "\n");
  std::ofstream(text(process_folder(), "/note.", process_rank())) << process_arguments().at(0);
  return 0;
}

HVD_PROCESS_CASE(rank_1_fails) { return process_rank() == 1 ? 42 : 0; }

HVD_PROCESS_CASE(sleeps) {
  process_reached("sleep");
  ::sleep(1000);
  return 0;
}

HVD_PROCESS_CASE(litters) {
  std::ofstream(std::filesystem::temp_directory_path() / "litter") << "x";
  std::ofstream(process_arguments().at(0)) << "x";
  return 0;
}

TEST(ProcessJob, RunsEveryRankAndCollectsWhatItWrote) {
  ProcessOptions options = with(waiting_launcher(3));
  options.case_arguments = {"a note"};
  const ProcessResult result = run_processes(3, "says_who_it_is", options);
  EXPECT_TRUE(result.is_clean()) << result.describe();
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_NE(result.out.find(text("out of ", rank, " of 3\n")), std::string::npos) << result.describe();
    EXPECT_NE(result.err.find(text("err of ", rank, "\n")), std::string::npos) << result.describe();
    EXPECT_EQ(result.files.at(text("note.", rank)), "a note");
  }
}

TEST(ProcessJob, PassesTheExitCodeOn) {
  const ProcessResult result = run_processes(2, "rank_1_fails", with(waiting_launcher(2)));
  EXPECT_EQ(result.exit_code, 42);
  EXPECT_FALSE(result.is_clean());
}

TEST(ProcessJob, AnUnknownCaseFails) {
  const ProcessResult result = run_processes(1, "no_such_case", with(waiting_launcher(1)));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("no_such_case"), std::string::npos);
}

TEST(ProcessJob, AMissingLauncherFails) {
  const ProcessResult result = run_processes(1, "sleeps", with({"/no/such/launcher"}));
  EXPECT_EQ(result.exit_code, 127);
}

TEST(ProcessJob, KillsOneRank) {
  ProcessJob job(3, "sleeps", with(waiting_launcher(3)));
  for (int rank = 0; rank < 3; ++rank) {
    const Status reached = job.wait_until_reached(rank, "sleep");
    ASSERT_TRUE(reached.is_ok()) << reached.message();
  }
  const pid_t killed = job.rank_pid(1).value();
  for (const int rank : {1, 0, 2}) {
    const Status status = job.kill_rank(rank, SIGKILL);
    ASSERT_TRUE(status.is_ok()) << status.message();
  }
  const ProcessResult result = job.finish();
  EXPECT_EQ(result.exit_code, 128 + SIGKILL) << result.describe();
  EXPECT_TRUE(result.leftovers.empty()) << result.describe();
  EXPECT_EQ(result.files.at("pid.1"), text(killed));
}

TEST(ProcessJob, ARankThatNeverBeginsIsNotWaitedFor) {
  ProcessJob job(1, "sleeps", with({"true"}));
  const Status status = job.wait_until_reached(0, "sleep");
  EXPECT_EQ(status.code(), StatusCode::aborted) << status.message();
}

TEST(ProcessJob, ARankThatHasEndedCannotBeKilled) {
  ProcessJob job(2, "rank_1_fails", with(waiting_launcher(2)));
  ASSERT_TRUE(job.rank_pid(1).is_ok());
  while (job.kill_rank(1, 0).is_ok()) ::usleep(1000);
  EXPECT_EQ(job.kill_rank(1, SIGKILL).code(), StatusCode::aborted);
}

TEST(ProcessJob, EndsAJobThatTakesTooLong) {
  ProcessOptions options = with(waiting_launcher(2));
  options.time_limit = std::chrono::seconds(1);
  options.leftover_grace = std::chrono::seconds(0);
  const ProcessResult result = run_processes(2, "sleeps", options);
  EXPECT_TRUE(result.timed_out);
  EXPECT_EQ(result.exit_code, 128 + SIGTERM);
}

TEST(ProcessJob, FindsAndKillsProcessesThatTheLauncherLeftBehind) {
  ProcessOptions options = with(shell_launcher(
      "HVD_RANK=0 setsid \"$@\" & while ! [ -e $HVD_TEST_JOB/reached.0.sleep ]; do sleep 0.01; done"));
  options.leftover_grace = std::chrono::seconds(0);
  ProcessJob job(1, "sleeps", options);
  const pid_t rank = job.rank_pid(0).value();
  const ProcessResult result = job.finish();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_FALSE(result.is_clean());
  ASSERT_EQ(result.leftovers.size(), 1u) << result.describe();
  EXPECT_NE(result.leftovers[0].find(text("pid ", rank, " ")), std::string::npos) << result.describe();
}

TEST(ProcessJob, FindsFilesThatRanksLeftBehind) {
  const std::string shared = text("/dev/shm/hvd-litter-", ::getpid());
  ProcessOptions options = with(waiting_launcher(1));
  options.case_arguments = {shared};
  options.leftover_grace = std::chrono::seconds(0);
  const ProcessResult result = run_processes(1, "litters", options);
  std::filesystem::remove(shared);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.leftovers.size(), 2u) << result.describe();
  EXPECT_NE(result.describe().find(shared), std::string::npos) << result.describe();
  EXPECT_NE(result.describe().find("/litter"), std::string::npos) << result.describe();
}

TEST(ProcessJobUnderHvdrun, RunsEveryRank) {
  ProcessOptions options;
  options.case_arguments = {"a note"};
  const ProcessResult result = run_processes(3, "says_who_it_is", options);
  EXPECT_TRUE(result.is_clean()) << result.describe();
  for (int rank = 0; rank < 3; ++rank) EXPECT_EQ(result.files.at(text("note.", rank)), "a note");
}

TEST(ProcessJobUnderHvdrun, AKilledRankEndsTheJob) {
  ProcessJob job(3, "sleeps");
  for (int rank = 0; rank < 3; ++rank) {
    const Status reached = job.wait_until_reached(rank, "sleep");
    ASSERT_TRUE(reached.is_ok()) << reached.message();
  }
  const Status killed = job.kill_rank(2, SIGKILL);
  ASSERT_TRUE(killed.is_ok()) << killed.message();
  const ProcessResult result = job.finish();
  EXPECT_EQ(result.exit_code, 128 + SIGKILL) << result.describe();
  EXPECT_NE(result.err.find("rank 2"), std::string::npos) << result.describe();
  EXPECT_TRUE(result.leftovers.empty()) << result.describe();
}

TEST(ProcessJobUnderHvdrun, AKilledLauncherLeavesNobody) {
  ProcessJob job(2, "sleeps");
  for (int rank = 0; rank < 2; ++rank) ASSERT_TRUE(job.wait_until_reached(rank, "sleep").is_ok());
  ASSERT_TRUE(job.kill_launcher(SIGKILL).is_ok());
  const ProcessResult result = job.finish();
  EXPECT_EQ(result.exit_code, 128 + SIGKILL);
  EXPECT_TRUE(result.leftovers.empty()) << result.describe();
}

TEST(ProcessJob, LeavesNoFolderOfItsOwn) {
  std::string folder;
  {
    ProcessJob job(1, "sleeps", with(shell_launcher("echo $HVD_TEST_JOB")));
    const ProcessResult result = job.finish();
    folder = result.out.substr(0, result.out.find('\n'));
  }
  EXPECT_NE(folder, "");
  EXPECT_FALSE(std::filesystem::exists(folder)) << folder;
}

}  // namespace
}  // namespace hvd
