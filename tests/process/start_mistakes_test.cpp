// Ranks that come late, never, or not where the others are; and hosts that know IPv6 only.
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <thread>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/world.h"
#include "tests/harness/process_case.h"
#include "tests/harness/process_job.h"
#include "tests/harness/seed.h"
#include "tests/ranks/session_calls.h"

namespace hvd {
namespace {

int fail(const std::string& why) {
  std::fprintf(stderr, "case failed on rank %d: %s\n", process_rank(), why.c_str());
  return 1;
}

int average_and_leave() {
  auto session = open_session();
  if (!session.is_ok()) return fail(session.status().message());
  std::vector<float> values(1000, static_cast<float>((*session)->rank()));
  const Declaration declaration = float_tensor(OpKind::allreduce, "values", {1000});
  const Status reduced = submit(**session, declaration, values.data()).wait(soon());
  if (!reduced.is_ok()) return fail(reduced.message());
  if (values.back() != static_cast<float>((*session)->size() - 1) / 2.0F) return fail("the average is wrong");
  std::printf("%s\n", (*session)->backends().c_str());
  const Status left = (*session)->shutdown(soon());
  return left.is_ok() ? 0 : fail(left.message());
}

HVD_PROCESS_CASE(rank_1_comes_late) {
  if (process_rank() == 1)
    std::this_thread::sleep_for(std::chrono::milliseconds(std::stoi(process_arguments().at(0))));
  return average_and_leave();
}

HVD_PROCESS_CASE(rank_1_ends_without_init) { return process_rank() == 1 ? 0 : average_and_leave(); }

HVD_PROCESS_CASE(all_ranks_average) { return average_and_leave(); }

std::size_t count_of(const std::string& words, const std::string& in) {
  std::size_t count = 0;
  for (std::size_t at = in.find(words); at != std::string::npos; at = in.find(words, at + 1)) ++count;
  return count;
}

ProcessResult run_late(int milliseconds, int start_timeout, int ranks) {
  ProcessOptions options;
  options.case_arguments = {std::to_string(milliseconds)};
  options.launcher_arguments = {"--failure-grace", "1"};
  options.environment = {{"HVD_START_TIMEOUT", std::to_string(start_timeout)}};
  return run_processes(ranks, "rank_1_comes_late", options);
}

// In a full run 30 s, as a machine that has to load a container first.
TEST(LateRanks, AreNamedOnceAndAwaited) {
  const int late_ms = test_rounds(2500, 30000);
  const ProcessResult result = run_late(late_ms, late_ms / 500, 3);
  EXPECT_TRUE(result.is_clean()) << result.describe();
  EXPECT_EQ(count_of("waiting for rank 1 for ", result.err), 1U) << result.describe();
  EXPECT_NE(result.err.find("not all ranks have come to hvd::init() yet (HVD_START_TIMEOUT ends it after "),
            std::string::npos)
      << result.describe();
}

// Who gives up a little later may hear first that another has.
TEST(LateRanks, WhoComeTooLateAreNamed) {
  const ProcessResult result = run_late(60000, 1, 3);
  EXPECT_NE(result.exit_code, 0) << result.describe();
  EXPECT_FALSE(result.timed_out) << result.describe();
  EXPECT_TRUE(result.leftovers.empty()) << result.describe();
  EXPECT_GE(count_of("; missing: 1", result.err), 1U) << result.describe();
  EXPECT_GE(
      count_of(". Every rank must call hvd::init(); if they only come late, raise HVD_START_TIMEOUT (hvdrun "
               "--start-timeout)",
               result.err),
      1U)
      << result.describe();
}

TEST(RanksThatEnd, WithoutInitAreNamedAtOnce) {
  ProcessOptions options;
  options.environment = {{"HVD_START_TIMEOUT", "100"}};
  options.time_limit = std::chrono::seconds(60);
  const ProcessResult result = run_processes(3, "rank_1_ends_without_init", options);
  EXPECT_EQ(result.exit_code, 1) << result.describe();
  EXPECT_FALSE(result.timed_out) << result.describe();
  EXPECT_EQ(
      count_of(
          "the process of rank 1 has exited while the others wait for it: every rank must call hvd::init()",
          result.err),
      2U)
      << result.describe();
}

HVD_PROCESS_CASE(ranks_with_different_settings) {
  ::setenv("HVD_STATIC_PLAN", process_rank() == 1 ? "0" : "1", 1);
  ::setenv("HVD_FUSION_THRESHOLD", process_rank() == 2 ? "7" : "1000", 1);
  return average_and_leave();
}

TEST(Settings, ThatDifferAreAllToldOnEveryRank) {
  const ProcessResult result = run_processes(3, "ranks_with_different_settings");
  EXPECT_EQ(result.exit_code, 1) << result.describe();
  for (const std::string words : {"HVD_FUSION_THRESHOLD: rank 0 has 1000, rank 1 has 1000, rank 2 has 7",
                                  "HVD_STATIC_PLAN: rank 0 has 1, rank 1 has 0, rank 2 has 1"}) {
    EXPECT_EQ(count_of(words, result.err), 3U) << result.describe();
  }
}

TEST(Settings, ThatNeedMpirunAreToldUnderHvdrun) {
  for (const std::string name : {"HVD_CONTROL", "HVD_CPU_OPERATIONS"}) {
    ProcessOptions options;
    options.environment = {{name, "mpi"}};
    const ProcessResult result = run_processes(2, "all_ranks_average", options);
    EXPECT_EQ(result.exit_code, 1) << result.describe();
    EXPECT_EQ(count_of(name + "=mpi: start the program with mpirun, or leave the setting out", result.err),
              2U)
        << result.describe();
  }
}

TEST(OneCore, IsEnoughForAllRanks) {
  cpu_set_t allowed;
  ASSERT_EQ(::sched_getaffinity(0, sizeof allowed, &allowed), 0);
  int cpu = 0;
  while (!CPU_ISSET(cpu, &allowed)) ++cpu;
  ProcessOptions options;
  options.launcher = {"taskset", "-c", std::to_string(cpu), program_folder() + "/hvdrun", "-np", "3"};
  const ProcessResult result = run_processes(3, "all_ranks_average", options);
  EXPECT_TRUE(result.is_clean()) << result.describe();
  EXPECT_EQ(result.err, "");
}

constexpr int kCannot = 77;

// A launcher's wrapper: its arguments are a command, which finds a network with nothing but ::1.
HVD_PROCESS_CASE(in_a_network_of_ipv6_only) {
  if (::unshare(CLONE_NEWNET) != 0) return kCannot;
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strncpy(request.ifr_name, "lo", IFNAMSIZ);
  request.ifr_flags = IFF_UP;
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) return kCannot;
  request.ifr_addr = {};
  request.ifr_addr.sa_family = AF_INET;  // 0.0.0.0: none
  if (::ioctl(socket.get(), SIOCSIFADDR, &request) != 0) return kCannot;
  std::string address;
  if (!(std::ifstream("/proc/net/if_inet6") >> address)) return kCannot;
  std::vector<char*> command;
  for (const std::string& word : process_arguments()) command.push_back(const_cast<char*>(word.c_str()));
  command.push_back(nullptr);
  ::execv(command[0], command.data());
  return kCannot;
}

class Ipv6Only : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Control, Ipv6Only, testing::Values("auto", "tcp"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(Ipv6Only, RanksMeetAndReduce) {
  ProcessOptions options;
  options.launcher = {program_folder() + "/mistakes_process_tests",
                      kCaseArgument,
                      "in_a_network_of_ipv6_only",
                      program_folder() + "/hvdrun",
                      "-np",
                      "3"};
  options.environment = {{"HVD_CONTROL", GetParam()},
                         {"HVD_CPU_OPERATIONS", std::string(GetParam()) == "tcp" ? "ring" : "auto"}};
  const ProcessResult result = run_processes(3, "all_ranks_average", options);
  if (result.exit_code == kCannot) GTEST_SKIP() << "no network namespaces here, or no IPv6";
  EXPECT_TRUE(result.is_clean()) << result.describe();
  EXPECT_EQ(count_of(std::string(GetParam()) == "tcp" ? "control tcp, cpu ring" : "control shm, cpu shm",
                     result.out),
            3U)
      << result.describe();
}

}  // namespace
}  // namespace hvd
