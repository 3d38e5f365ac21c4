// Ranks on several hosts, which are network namespaces here: what happens when a host, or a process on another host, goes.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <thread>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/world.h"
#include "tests/harness/process_case.h"
#include "tests/harness/process_job.h"
#include "tests/harness/virtual_hosts.h"
#include "tests/ranks/session_calls.h"

namespace hvd {
namespace {

int fail_on_host(const std::string& why) {
  std::fprintf(stderr, "case failed on rank %d: %s\n", process_rank(), why.c_str());
  return 1;
}

// 4 MiB, more than sockets hold, again and again until rank 0 has the file "enough" in the job's folder.
std::string reduce_until_enough(Session& session, const std::function<void(int round)>& before_each) {
  Declaration declaration = float_tensor(OpKind::allreduce, "much", {1 << 20});
  declaration.op = ReduceOp::max;
  std::vector<float> values(1 << 20);
  for (int round = 0; values[0] == 0.0F; ++round) {
    before_each(round);
    const bool is_enough = ::access((process_folder() + "/enough").c_str(), F_OK) == 0;
    std::fill(values.begin(), values.end(), process_rank() == 0 && is_enough ? 1.0F : 0.0F);
    const Status status = submit(session, declaration, values.data()).wait(soon());
    if (!status.is_ok()) return status.message();
    if (round == 3) process_reached("work");
  }
  return session.shutdown(soon()).message();
}

int reduce_on_hosts(const std::function<void(int round)>& before_each) {
  auto session = open_session();
  if (!session.is_ok()) return fail_on_host(session.status().message());
  std::printf("%s\n", (*session)->backends().c_str());
  const std::string wrong = reduce_until_enough(**session, before_each);
  return wrong.empty() ? 0 : fail_on_host(wrong);
}

HVD_PROCESS_CASE(reduce_on_several_hosts) {
  return reduce_on_hosts([](int) {});
}

HVD_PROCESS_CASE(the_cable_of_host_2_is_cut) {
  return reduce_on_hosts([](int round) {
    if (process_rank() == 2 && round == 5) static_cast<void>(cut_cable());
  });
}

// Rank 1 never submits: while its cable is cut nothing is under way to it.
HVD_PROCESS_CASE(the_cable_of_an_idle_host_is_cut) {
  auto session = open_session();
  if (!session.is_ok()) return fail_on_host(session.status().message());
  float value = 1.0F;
  const auto barrier = [&](const char* name) {
    return submit(**session, float_tensor(OpKind::allreduce, name, {1}), &value);
  };
  if (const Status status = barrier("first").wait(soon()); !status.is_ok())
    return fail_on_host(status.message());
  if (process_rank() == 1) {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    if (const Status cut = cut_cable(); !cut.is_ok()) return fail_on_host(cut.message());
    while ((*session)->status().is_ok()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return fail_on_host((*session)->status().message());
  }
  return fail_on_host(barrier("never").wait(soon()).message());
}

// The child of each rank lives on.
HVD_PROCESS_CASE(reduce_with_children) {
  return reduce_on_hosts([](int round) {
    if (round == 0 && ::fork() == 0) {
      while (true) ::pause();
    }
  });
}

class SeveralHosts : public testing::Test {
 protected:
  void SetUp() override {
    const std::string command = program_folder() + "/several_hosts 0";
    const int status = std::system(command.c_str());  // NOLINT(concurrency-mt-unsafe): before any thread
    if (WIFEXITED(status) && WEXITSTATUS(status) == kNoVirtualHosts)
      GTEST_SKIP() << "the kernel lets nobody make network namespaces here; see the line above";
    ASSERT_EQ(status, 0);
  }
  static ProcessOptions options(std::vector<std::pair<std::string, std::string>> environment = {}) {
    ProcessOptions options;
    options.launcher = {program_folder() + "/several_hosts", "3"};
    options.environment = std::move(environment);
    return options;
  }
  static void expect_failed(const ProcessResult& result, int rank, const std::string& words) {
    EXPECT_NE(result.exit_code, 0) << result.describe();
    EXPECT_FALSE(result.timed_out) << result.describe();
    EXPECT_TRUE(result.leftovers.empty()) << result.describe();
    const std::size_t begin = result.err.find(text("case failed on rank ", rank, ": "));
    ASSERT_NE(begin, std::string::npos) << result.describe();
    const std::string line = result.err.substr(begin, result.err.find('\n', begin) - begin);
    EXPECT_NE(line.find(words), std::string::npos) << words << '\n' << result.describe();
  }
};

TEST_F(SeveralHosts, ReduceOverTcp) {
  ProcessJob job(3, "reduce_on_several_hosts", options());
  ASSERT_TRUE(job.wait_until_reached(0, "work").is_ok());
  job.leave_file("enough");
  const ProcessResult result = job.finish();
  EXPECT_TRUE(result.is_clean()) << result.describe();
  EXPECT_NE(result.out.find("control tcp, cpu ring"), std::string::npos) << result.describe();
}

TEST_F(SeveralHosts, AHostThatVanishesIsNamed) {
  const ProcessResult result =
      run_processes(3, "the_cable_of_host_2_is_cut", options({{"HVD_HEARTBEAT_TIMEOUT_SECONDS", "2"}}));
  for (const int rank : {0, 1}) expect_failed(result, rank, "the host of rank 2 does not answer");
}

TEST_F(SeveralHosts, AHostThatVanishesWhileNothingIsSentIsNamed) {
  const ProcessResult result =
      run_processes(3, "the_cable_of_an_idle_host_is_cut", options({{"HVD_HEARTBEAT_TIMEOUT_SECONDS", "2"}}));
  for (const int rank : {0, 2}) expect_failed(result, rank, "the host of rank 1 does not answer");
}

TEST_F(SeveralHosts, AKilledRankIsNoticedThoughItsChildLives) {
  ProcessOptions within_25_s = options();
  within_25_s.time_limit = std::chrono::seconds(25);  // a stall is told after 60
  ProcessJob job(3, "reduce_with_children", within_25_s);
  ASSERT_TRUE(job.wait_until_reached(1, "work").is_ok());
  ASSERT_TRUE(job.kill_rank(1, SIGKILL).is_ok());
  const ProcessResult result = job.finish();
  for (const int rank : {0, 2}) expect_failed(result, rank, "rank 1 is gone");
}

// Its kernel acknowledges, though its buffers are full.
TEST_F(SeveralHosts, AProcessThatIsStoppedOnAnotherHostIsNoVanishedHost) {
  ProcessJob job(3, "reduce_on_several_hosts",
                 options({{"HVD_HEARTBEAT_TIMEOUT_SECONDS", "1"}, {"HVD_STALL_CHECK_TIME_SECONDS", "2"}}));
  ASSERT_TRUE(job.wait_until_reached(1, "work").is_ok());
  ASSERT_TRUE(job.kill_rank(1, SIGSTOP).is_ok());
  std::this_thread::sleep_for(std::chrono::seconds(5));
  ASSERT_TRUE(job.kill_rank(1, SIGCONT).is_ok());
  job.leave_file("enough");
  const ProcessResult result = job.finish();
  EXPECT_TRUE(result.is_clean()) << result.describe();
  EXPECT_NE(result.err.find("rank 1 has not answered for 2 s: its process is stopped, or gets no processor"),
            std::string::npos)
      << result.describe();
}

}  // namespace
}  // namespace hvd
