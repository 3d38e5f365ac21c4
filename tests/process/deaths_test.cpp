// Ranks that die in every way, in every phase, alone and together: what the others and hvdrun say, and what is left.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "bindings/runtime/launch_environment.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/rendezvous/client.h"
#include "horovod_cpp/secure/job_key.h"
#include "horovod_cpp/transport/tcp/tcp_contact.h"
#include "horovod_cpp/world.h"
#include "tests/harness/run_processes.h"
#include "tests/process/last_words.h"
#include "tests/ranks/session_calls.h"

namespace hvd {
namespace {

using Environment = std::vector<std::pair<std::string, std::string>>;

struct World {
  const char* name;
  Environment environment;
};

struct Way {
  const char* name;
  int exit_status;    // of hvdrun
  const char* words;  // of hvdrun, about the rank
};
const Way kKilled{"SIGKILL", 128 + SIGKILL, "was killed by SIGKILL (9)"};
const Way kWays[] = {kKilled,
                     {"SIGSEGV", 128 + SIGSEGV, "was killed by SIGSEGV (11)"},
                     {"abort", 128 + SIGABRT, "was killed by SIGABRT (6)"},
                     {"exit 3", 3, "exited with status 3"}};

void die(const std::string& way) {
  const rlimit no_core{};
  setrlimit(RLIMIT_CORE, &no_core);
  if (way == "exit 0") std::_Exit(0);
  if (way == "exit 3") std::_Exit(3);
  const int signal = way == "SIGSEGV" ? SIGSEGV : way == "abort" ? SIGABRT : SIGKILL;
  ::signal(signal, SIG_DFL);  // not a sanitizer's
  if (way == "abort") std::abort();
  std::raise(signal);
}

// Meets the others as open_session does, and goes no further.
void meet_only() {
  const auto launch = read_launch_environment(process_environment());
  const auto key = read_job_key(launch.value().job_key);
  const auto listener = TcpListener::open();
  ByteWriter visitor;
  visitor.put(std::int32_t{0});
  visitor.put_bytes(encode(listener.value().contact()));
  const auto met = rendezvous(launch.value().rendezvous, key.value(), process_rank(), process_size(),
                              visitor.bytes(), soon());
  if (!met.is_ok()) std::fprintf(stderr, "%s\n", met.status().message().c_str());
}

bool is_in(const std::string& ranks) {
  return ranks.find(std::to_string(process_rank())) != std::string::npos;
}

// Arguments: way, phase, ranks that die ("12"), ranks that die of the failure of others.
HVD_PROCESS_CASE(dies) {
  const auto& arguments = process_arguments();
  const std::string& way = arguments.at(0);
  const std::string& phase = arguments.at(1);
  const bool is_victim = is_in(arguments.at(2));
  const auto fail = [&](const Status& why) {
    if (is_in(arguments.at(3))) die(way);
    std::fprintf(stderr, "case failed on rank %d: %s\n", process_rank(), why.message().c_str());
    return 1;
  };
  if (is_victim && phase == "before the others come") die(way);
  if (is_victim && phase == "while the others connect") {
    meet_only();
    die(way);
  }
  auto session = open_session();
  if (!session.is_ok()) return fail(session.status());
  if (is_victim && phase == "before the first round") die(way);
  float value = 1.0F;
  for (int round = 0;; ++round) {
    const Status status =
        submit(**session, float_tensor(OpKind::allreduce, "value", {1}), &value).wait(soon());
    if (!status.is_ok()) return fail(status);
    if (is_victim && round == 20) die(way);
    if (round == 20) process_reached("work");
  }
}

class Deaths : public testing::TestWithParam<World> {
 protected:
  // `victims` and `followers`: as the arguments of the case.
  static ProcessOptions options(const Way& way, const std::string& phase, const std::string& victims,
                                const std::string& followers = "-") {
    ProcessOptions options;
    options.environment = GetParam().environment;
    const char* const asan = std::getenv("ASAN_OPTIONS");
    options.environment.emplace_back("ASAN_OPTIONS", text(asan ? asan : "", ":handle_segv=0:handle_abort=0"));
    // A rank that does not notice by itself is ended by hvdrun, which says so.
    options.launcher_arguments = {"--failure-grace", "30"};
    options.case_arguments = {way.name, phase, victims, followers};
    return options;
  }

  static void expect_end(const ProcessResult& result, int exit_status) {
    EXPECT_EQ(result.exit_code, exit_status) << result.describe();
    EXPECT_FALSE(result.timed_out) << result.describe();
    EXPECT_TRUE(result.leftovers.empty()) << result.describe();
    EXPECT_EQ(result.err.find(" ended by hvdrun"), std::string::npos) << result.describe();
  }
  static void expect_first_words(const ProcessResult& result, int rank, const std::string& how) {
    const auto words = words_of_hvdrun(result.err);
    ASSERT_FALSE(words.empty()) << result.describe();
    EXPECT_TRUE(words[0].starts_with(text("rank ", rank, " (pid "))) << result.describe();
    EXPECT_NE(words[0].find(text(how, "; the job has ended")), std::string::npos) << result.describe();
  }
};

INSTANTIATE_TEST_SUITE_P(
    Worlds, Deaths,
    testing::Values(World{"shm", {}}, World{"tcp", {{"HVD_CONTROL", "tcp"}, {"HVD_CPU_OPERATIONS", "ring"}}}),
    [](const auto& info) { return info.param.name; });

TEST_P(Deaths, InEveryWayAreNamed) {
  for (const Way& way : kWays) {
    SCOPED_TRACE(way.name);
    const ProcessResult result = run_processes(3, "dies", options(way, "work", "1"));
    expect_end(result, way.exit_status);
    expect_first_words(result, 1, way.words);
    EXPECT_EQ(survivors_that_name(1, result.err), 2) << result.describe();
  }
}

TEST_P(Deaths, AnExitWithoutAGoodbyeIsOneToo) {
  const ProcessResult result = run_processes(3, "dies", options({"exit 0", 1, ""}, "work", "1"));
  expect_end(result, 1);
  EXPECT_EQ(survivors_that_name(1, result.err), 2) << result.describe();
  EXPECT_NE(result.err.find("exited without hvd::shutdown()"), std::string::npos) << result.describe();
  EXPECT_NE(result.err.find("hvdrun: before that rank 1 exited with status 0"), std::string::npos)
      << result.describe();
}

TEST_P(Deaths, InEveryPhaseOfTheStartAreNoticed) {
  for (const char* phase : {"before the others come", "while the others connect", "before the first round"}) {
    for (const int victim : {0, 2}) {
      SCOPED_TRACE(text(phase, ", rank ", victim));
      const ProcessResult result = run_processes(3, "dies", options(kKilled, phase, std::to_string(victim)));
      expect_end(result, kKilled.exit_status);
      expect_first_words(result, victim, kKilled.words);
      EXPECT_EQ(survivors_that_name(victim, result.err), 2) << result.describe();
    }
  }
}

TEST_P(Deaths, OfTwoAtOnce) {
  const ProcessResult result = run_processes(4, "dies", options(kKilled, "work", "12"));
  expect_end(result, kKilled.exit_status);
  const auto words = words_of_hvdrun(result.err);
  const int first = !words.empty() && words[0].starts_with("rank 1") ? 1 : 2;
  expect_first_words(result, first, kKilled.words);
  EXPECT_NE(result.err.find(text("hvdrun: then rank ", 3 - first, " was killed by SIGKILL (9)")),
            std::string::npos)
      << result.describe();
  const int named = survivors_that_name(1, result.err) + survivors_that_name(2, result.err);
  EXPECT_GE(named, 2) << result.describe();
}

TEST_P(Deaths, OfTheLastButOneLeaveOneWhoNamesIt) {
  const ProcessResult result = run_processes(2, "dies", options(kKilled, "work", "0"));
  expect_end(result, kKilled.exit_status);
  expect_first_words(result, 0, kKilled.words);
  EXPECT_EQ(survivors_that_name(0, result.err), 1) << result.describe();
}

// Rank 2 dies of the death of rank 1: who is left names the first.
TEST_P(Deaths, OfTwoOneAfterTheOtherAreToldInThisOrder) {
  const ProcessResult result = run_processes(3, "dies", options(kKilled, "work", "1", "2"));
  expect_end(result, kKilled.exit_status);
  expect_first_words(result, 1, kKilled.words);
  EXPECT_NE(result.err.find("hvdrun: then rank 2 was killed by SIGKILL (9)"), std::string::npos)
      << result.describe();
  EXPECT_EQ(survivors_that_name(1, result.err), 1) << result.describe();
}

TEST_P(Deaths, OfHvdrunLeaveNoRank) {
  ProcessJob job(3, "dies", options(kKilled, "work", "-"));
  ASSERT_TRUE(job.wait_until_reached(0, "work").is_ok());
  ASSERT_TRUE(job.kill_launcher(SIGKILL).is_ok());
  const ProcessResult result = job.finish();
  EXPECT_EQ(result.exit_code, 128 + SIGKILL) << result.describe();
  EXPECT_TRUE(result.leftovers.empty()) << result.describe();
}

}  // namespace
}  // namespace hvd
