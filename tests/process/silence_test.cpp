// Ranks that live and do not go on: stopped, or stuck in their coordinator, while others wait for them.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/world.h"
#include "tests/harness/process_case.h"
#include "tests/harness/process_job.h"
#include "tests/process/launcher_job.h"
#include "tests/ranks/session_calls.h"

namespace hvd {
namespace {

using Environment = std::vector<std::pair<std::string, std::string>>;

int fail_with(const Status& status) {
  std::fprintf(stderr, "case failed on rank %d: %s\n", process_rank(), status.message().c_str());
  return 1;
}

// Until rank 0 gets SIGUSR2.
volatile std::sig_atomic_t has_enough = 0;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

HVD_PROCESS_CASE(work_until_told) {
  std::signal(SIGUSR2, [](int) { has_enough = 1; });
  auto session = open_session();
  if (!session.is_ok()) return fail_with(session.status());
  for (int round = 0;; ++round) {
    float enough = has_enough != 0 ? 1.0F : 0.0F;
    Declaration declaration = float_tensor(OpKind::allreduce, "enough", {1});
    declaration.op = ReduceOp::max;
    const Status status = submit(**session, declaration, &enough).wait(soon());
    if (!status.is_ok()) return fail_with(status);
    if (round == 10) {
      std::printf("rank %d works as %d\n", process_rank(), ::getpid());
      std::fflush(stdout);
    }
    if (enough != 0.0F) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const Status status = (*session)->shutdown(soon());
  return status.is_ok() ? 0 : fail_with(status);
}

// Rank 1's coordinator never comes back from a callback.
HVD_PROCESS_CASE(rank_1_hangs_in_a_callback) {
  auto session = open_session();
  if (!session.is_ok()) return fail_with(session.status());
  const auto id = (*session)->declare(float_tensor(OpKind::allreduce, "held", {1}));
  if (!id.is_ok()) return fail_with(id.status());
  float value = 1.0F;
  Submission submission;
  submission.id = id.value();
  submission.input = submission.output = &value;
  if (process_rank() == 1) {
    submission.on_announced = [] {
      while (true) ::pause();
    };
  }
  const Status status = (*session)->submit(std::move(submission)).wait(soon());
  return fail_with(status);
}

class Silence : public testing::TestWithParam<Environment> {
 protected:
  void start(const char* case_name, const Environment& limits) {
    const std::vector<std::string> arguments{"-np",
                                             "3",
                                             "--failure-grace",
                                             "1",
                                             std::filesystem::read_symlink("/proc/self/exe").string(),
                                             kCaseArgument,
                                             case_name};
    LauncherJobOptions job;
    job.environment = GetParam();
    job.environment.insert(job.environment.end(), limits.begin(), limits.end());
    job_ = std::make_unique<LauncherJob>(arguments, job);
  }
  // Once it works.
  pid_t process_of(int rank) {
    const std::string words = text("rank ", rank, " works as ");
    if (!job_->wait_for(words)) return -1;
    const std::string& out = job_->out();
    return static_cast<pid_t>(std::stol(out.substr(out.find(words) + words.size())));
  }
  bool errors_have(const std::string& words) const { return job_->err().find(words) != std::string::npos; }

  std::unique_ptr<LauncherJob> job_;
};
INSTANTIATE_TEST_SUITE_P(Over, Silence,
                         testing::Values(Environment{},
                                         Environment{{"HVD_CONTROL", "tcp"}, {"HVD_CPU_OPERATIONS", "ring"}}),
                         [](const auto& info) { return info.param.empty() ? "shm" : "tcp"; });

TEST_P(Silence, AStoppedRankIsToldAndTheJobGoesOnWhenItWakes) {
  start("work_until_told", {{"HVD_STALL_CHECK_TIME_SECONDS", "1"}});
  const pid_t rank_0 = process_of(0);
  const pid_t rank_1 = process_of(1);
  ASSERT_GT(rank_1, 0) << job_->both();
  ASSERT_EQ(::kill(rank_1, SIGSTOP), 0);
  EXPECT_TRUE(
      job_->wait_for(text("rank 1 (pid ", rank_1, ") has not answered for 1 s: its process is stopped ",
                          "(SIGSTOP or a terminal); kill -CONT ", rank_1, " lets it go on. Rank 0 waits ",
                          "in allreduce 'enough'")))
      << job_->both();
  EXPECT_TRUE(job_->wait_for("what the ranks are doing (a rank does not answer)")) << job_->both();
  ASSERT_EQ(::kill(rank_1, SIGCONT), 0);
  ASSERT_EQ(::kill(rank_0, SIGUSR2), 0);
  EXPECT_EQ(job_->finish(), 0) << job_->both();
}

TEST_P(Silence, AStoppedRankEndsTheJobIfAsked) {
  start("work_until_told", {{"HVD_STALL_SHUTDOWN_TIME_SECONDS", "1"}});
  const pid_t rank_1 = process_of(1);
  ASSERT_GT(process_of(0), 0) << job_->both();
  ASSERT_GT(rank_1, 0) << job_->both();
  ASSERT_GT(process_of(2), 0) << job_->both();
  ASSERT_EQ(::kill(rank_1, SIGSTOP), 0);
  EXPECT_NE(job_->finish(), 0) << job_->both();
  for (const int rank : {0, 2}) {
    EXPECT_TRUE(
        errors_have(text("case failed on rank ", rank, ": rank 1 (pid ", rank_1, ") has not answered for ")))
        << job_->both();
  }
  EXPECT_TRUE(errors_have("ended because HVD_STALL_SHUTDOWN_TIME_SECONDS asks for it")) << job_->both();
  EXPECT_EQ(job_->survivors(), "");
}

TEST_P(Silence, ARankWhoseCoordinatorHangsIsToldAndEndsTheJobIfAsked) {
  // In this operation, or in the next round of negotiation: that depends on who was late.
  start("rank_1_hangs_in_a_callback",
        {{"HVD_STALL_CHECK_TIME_SECONDS", "1"}, {"HVD_STALL_SHUTDOWN_TIME_SECONDS", "2"}});
  EXPECT_TRUE(job_->wait_for(" for 1 s; rank 1 lives, but has not come to it")) << job_->both();
  EXPECT_NE(job_->finish(), 0) << job_->both();
  EXPECT_TRUE(errors_have("a callback, does not end there; ended because HVD_STALL_SHUTDOWN_TIME_SECONDS"))
      << job_->both();
  EXPECT_EQ(job_->survivors(), "");
}

}  // namespace
}  // namespace hvd
