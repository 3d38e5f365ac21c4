// Session with ranks as processes under the real launchers.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/world.h"
#include "tests/harness/process_case.h"
#include "tests/harness/process_job.h"
#include "tests/harness/seed.h"
#include "tests/process/last_words.h"
#include "tests/ranks/any_order.h"
#include "tests/ranks/every_operation.h"

namespace hvd {
namespace {

Deadline soon() { return Deadline::after(std::chrono::minutes(2)); }

int fail(const std::string& why) {
  std::fprintf(stderr, "case failed on rank %d: %s\n", process_rank(), why.c_str());
  return 1;
}

int run_with_session(const std::function<std::string(Session&)>& body) {
  auto session = open_session();
  if (!session.is_ok()) return fail(session.status().message());
  if (const std::string wrong = body(**session); !wrong.empty()) return fail(wrong);
  const Status status = (*session)->shutdown(soon());
  return status.is_ok() ? 0 : fail(status.message());
}

std::string average_once(Session& session, float& value) {
  Declaration declaration;
  declaration.name = "value";
  const auto id = session.declare(declaration);
  if (!id.is_ok()) return id.status().message();
  Submission submission;
  submission.id = id.value();
  submission.input = &value;
  submission.output = &value;
  return session.submit(std::move(submission)).wait(soon()).message();
}

HVD_PROCESS_CASE(any_order) {
  return run_with_session([](Session& session) {
    std::printf("%s\n", session.backends().c_str());
    return submit_in_any_order(session, std::stoull(process_arguments().at(0)), 200, soon());
  });
}

// In the order in which a failure is easiest to understand.
HVD_PROCESS_CASE(every_operation) {
  return run_with_session([](Session& session) {
    std::string wrong = do_every_step(session, all_ranks(session), "x", 1);
    if (wrong.empty() && session.size() == 4) wrong = use_overlapping_sets(session, 3);
    if (wrong.empty()) wrong = join_when_out_of_data(session);
    if (wrong.empty())
      wrong = interleave(session, std::stoull(process_arguments().at(0)), test_rounds(5, 1000));
    return wrong;
  });
}

HVD_PROCESS_CASE(work_for_ever) {
  return run_with_session([](Session& session) -> std::string {
    float value = 1.0F;
    for (int round = 0;; ++round) {
      if (const std::string wrong = average_once(session, value); !wrong.empty()) return wrong;
      if (round == 10) process_reached("work");
    }
  });
}

// As work_for_ever, but with a child that inherits every descriptor, as a data loader's workers do.
HVD_PROCESS_CASE(work_for_ever_with_a_child) {
  return run_with_session([](Session& session) -> std::string {
    const pid_t child = ::fork();
    if (child == 0) {
      std::this_thread::sleep_for(std::chrono::seconds(60));
      std::_Exit(0);
    }
    float value = 1.0F;
    for (int round = 0;; ++round) {
      if (const std::string wrong = average_once(session, value); !wrong.empty()) return wrong;
      if (round == 10) process_reached("work");
    }
  });
}

HVD_PROCESS_CASE(rank_1_exits_without_a_word) {
  return run_with_session([](Session& session) -> std::string {
    float value = 1.0F;
    if (const std::string wrong = average_once(session, value); !wrong.empty()) return wrong;
    if (process_rank() == 1) std::_Exit(7);
    return average_once(session, value);
  });
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// Resident and file-backed memory of this process.
long resident_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word == "VmRSS:") return status >> word ? std::stol(word) : 0;
  }
  return 0;
}

// A sanitizer keeps freed memory for a while.
#ifdef HVD_TEST_IS_SANITIZED
constexpr long kQuarantineKib = 64 * 1024;
#else
constexpr long kQuarantineKib = 0;
#endif

HVD_PROCESS_CASE(sessions_come_and_go) {
  const int sessions = std::stoi(process_arguments().at(0));
  const int settled = sessions / 5;  // by then allocators hold what they need
  std::size_t descriptors = 0;
  long before_kib = 0;
  for (int i = 0; i < sessions; ++i) {
    float value = 1.0F;
    const int code = run_with_session([&](Session& session) { return average_once(session, value); });
    if (code != 0) return code;
    if (i == settled) {
      descriptors = open_descriptors();
      before_kib = resident_kib();
    }
  }
  std::printf("%d sessions: %zu -> %zu descriptors, %ld -> %ld KiB\n", sessions, descriptors,
              open_descriptors(), before_kib, resident_kib());
  if (open_descriptors() != descriptors) return fail("descriptors are left");
  // One leaked kilobyte a session would be more than this.
  const long most_kib = before_kib + 256 + kQuarantineKib + sessions - settled;
  return resident_kib() <= most_kib ? 0 : fail("memory has grown");
}

HVD_PROCESS_CASE(every_rank_gives_up) {
  return run_with_session([](Session& session) -> std::string {
    float value = 1.0F;
    const std::string wrong = average_once(session, value);
    return wrong.empty() ? "on purpose" : wrong;
  });
}

// Hardly wakes up while nothing happens. What a wake-up costs depends on the machine and on sanitizers (plainly built, 100 a second are
// 0.1 % of a core), so wake-ups are counted and the time is only told.
HVD_PROCESS_CASE(idle) {
  return run_with_session([](Session& session) -> std::string {
    float value = 1.0F;
    if (const std::string wrong = average_once(session, value); !wrong.empty()) return wrong;
    const double seconds = std::stod(process_arguments().at(0));
    const double most_wake_ups = std::stod(process_arguments().at(1));
    const auto usage = [] {
      rusage now{};
      ::getrusage(RUSAGE_SELF, &now);
      return now;
    };
    const auto seconds_of = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    };
    std::this_thread::sleep_for(std::chrono::seconds(2));
    const rusage before = usage();
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    const rusage after = usage();
    const double wake_ups = static_cast<double>(after.ru_nvcsw - before.ru_nvcsw) / seconds;
    const double used = (seconds_of(after.ru_utime) + seconds_of(after.ru_stime) -
                         seconds_of(before.ru_utime) - seconds_of(before.ru_stime)) /
                        seconds;
    std::printf("idle: %.1f wake-ups a second, %.3f %% of a core over %.0f s\n", wake_ups, 100 * used,
                seconds);
    return wake_ups <= most_wake_ups ? "" : text("woke up ", wake_ups, " times a second");
  });
}

struct World {
  const char* name;
  std::vector<std::string> (*launcher)(int n);  // empty: hvdrun
  std::vector<std::pair<std::string, std::string>> environment;
  const char* backends;
};

std::vector<std::string> hvdrun(int) { return {}; }

class Processes : public testing::TestWithParam<World> {
 protected:
  static ProcessOptions options(int n) {
    ProcessOptions options;
    options.launcher = GetParam().launcher(n);
    options.environment = GetParam().environment;
    return options;
  }
};

std::vector<World> worlds() {
  return {
      {"hvdrun_shm", hvdrun, {}, "control shm, cpu shm"},
      {"hvdrun_tcp",
       hvdrun,
       {{"HVD_CONTROL", "tcp"}, {"HVD_CPU_OPERATIONS", "ring"}},
       "control tcp, cpu ring"},
#ifdef HVD_TEST_WITH_MPI
      {"mpirun_shm", mpirun_command, {}, "control shm, cpu shm"},
      {"mpirun_mpi",
       mpirun_command,
       {{"HVD_CONTROL", "mpi"}, {"HVD_CPU_OPERATIONS", "mpi"}},
       "control mpi, cpu mpi"},
#endif
  };
}
INSTANTIATE_TEST_SUITE_P(Launchers, Processes, testing::ValuesIn(worlds()),
                         [](const auto& info) { return info.param.name; });

TEST_P(Processes, AnyOrderOfSubmission) {
  with_a_seed([](std::uint64_t seed) {
    ProcessOptions with_seed = options(4);
    with_seed.case_arguments = {std::to_string(seed)};
    const ProcessResult result = run_processes(4, "any_order", with_seed);
    EXPECT_TRUE(result.is_clean()) << result.describe();
    EXPECT_NE(result.out.find(GetParam().backends), std::string::npos) << result.describe();
  });
}

TEST_P(Processes, EveryOperation) {
  const bool is_full = test_rounds(0, 1) > 0;
  for (const int n : is_full ? std::vector<int>{1, 2, 3, 4, 7} : std::vector<int>{3, 4}) {
    with_a_seed([n](std::uint64_t seed) {
      ProcessOptions with_seed = options(n);
      with_seed.case_arguments = {std::to_string(seed)};
      with_seed.time_limit = std::chrono::minutes(4);
      const ProcessResult result = run_processes(n, "every_operation", with_seed);
      EXPECT_TRUE(result.is_clean()) << result.describe();
    });
  }
}

HVD_PROCESS_CASE(open_and_leave) {
  return run_with_session([](Session&) { return std::string(); });
}

std::size_t count_of(const std::string& words, const std::string& in) {
  std::size_t count = 0;
  for (std::size_t at = in.find(words); at != std::string::npos; at = in.find(words, at + 1)) ++count;
  return count;
}

TEST(ProcessSettings, AMisspeltOneIsToldOnce) {
  ProcessOptions options;
  options.environment = {{"HVD_FUSION_TRESHOLD", "1"}, {"HOROVOD_CYCLE_TIME", "5"}};
  const ProcessResult result = run_processes(3, "open_and_leave", options);
  EXPECT_TRUE(result.is_clean()) << result.describe();
  EXPECT_EQ(count_of("HVD_FUSION_TRESHOLD is not a setting", result.err), 1U) << result.describe();
  EXPECT_EQ(count_of("did you mean HVD_FUSION_THRESHOLD?", result.err), 1U) << result.describe();
  EXPECT_EQ(count_of("HOROVOD_CYCLE_TIME has no effect", result.err), 1U) << result.describe();
  // Nothing that hvdrun sets itself is unknown.
  EXPECT_EQ(count_of("no effect", result.err), 2U) << result.describe();
}

TEST(ProcessSettings, ABadLogLevelIsAnErrorOnEveryRank) {
  ProcessOptions options;
  options.environment = {{"HOROVOD_LOG_LEVEL", "loud"}};
  const ProcessResult result = run_processes(2, "open_and_leave", options);
  EXPECT_NE(result.exit_code, 0) << result.describe();
  EXPECT_EQ(count_of("HOROVOD_LOG_LEVEL='loud': expected one of trace", result.err), 2U) << result.describe();
}

TEST(ManySessions, LeaveNothingBehind) {
  ProcessOptions options;
  options.case_arguments = {std::to_string(test_rounds(120, 1000))};
  options.time_limit = std::chrono::minutes(4);
  // AddressSanitizer would keep 256 MiB of what has been freed.
  const char* const asan = std::getenv("ASAN_OPTIONS");
  options.environment.emplace_back("ASAN_OPTIONS", text(asan ? asan : "", ":quarantine_size_mb=1"));
  const ProcessResult result = run_processes(2, "sessions_come_and_go", options);
  EXPECT_TRUE(result.is_clean()) << result.describe();
  std::printf("%s", result.out.c_str());
}

TEST_P(Processes, AnIdleRankSleeps) {
  ProcessOptions idle = options(2);
  // MPI cannot be slept on: its Backoff looks every 10 ms.
  const char* const most_wake_ups_a_second = std::string(GetParam().name) == "mpirun_mpi" ? "120" : "20";
  idle.case_arguments = {std::getenv("HVD_TEST_ROUNDS") ? "10" : "3", most_wake_ups_a_second};
  const ProcessResult result = run_processes(2, "idle", idle);
  EXPECT_TRUE(result.is_clean()) << result.describe();
  std::printf("%s", result.out.c_str());
}

TEST_P(Processes, AKilledRankIsNamedByTheOthersAndNothingIsLeft) {
  for (const int victim : {0, 1, 2}) {
    ProcessJob job(3, "work_for_ever", options(3));
    ASSERT_TRUE(job.wait_until_reached(victim, "work").is_ok());
    ASSERT_TRUE(job.kill_rank(victim, SIGKILL).is_ok());
    const ProcessResult result = job.finish();
    EXPECT_NE(result.exit_code, 0) << result.describe();
    EXPECT_FALSE(result.timed_out) << result.describe();
    EXPECT_TRUE(result.leftovers.empty()) << result.describe();
    // Where the ranks have links of their own, they name the victim; with MPI alone mpirun does.
    if (std::string(GetParam().name) != "mpirun_mpi") {
      EXPECT_EQ(survivors_that_name(victim, result.err), 2) << result.describe();
    }
  }
}

TEST(ProcessesWithChildren, AKilledRankIsNoticedThoughItsChildLives) {
  ProcessJob job(3, "work_for_ever_with_a_child");
  ASSERT_TRUE(job.wait_until_reached(1, "work").is_ok());
  ASSERT_TRUE(job.kill_rank(1, SIGKILL).is_ok());
  const ProcessResult result = job.finish();
  EXPECT_EQ(survivors_that_name(1, result.err), 2) << result.describe();
  EXPECT_FALSE(result.timed_out) << result.describe();
  EXPECT_TRUE(result.leftovers.empty()) << result.describe();
}

TEST_P(Processes, RanksThatGiveUpTogetherEnd) {
  if (!options(3).launcher.empty())
    GTEST_SKIP() << "mpirun of Open MPI 4.1.4 itself waits for ever now and then, in PMIx_server_finalize, "
                    "when all ranks have ended";
  for (int round = 0; round < test_rounds(3, 30); ++round) {
    const ProcessResult result = run_processes(3, "every_rank_gives_up", options(3));
    EXPECT_NE(result.exit_code, 0) << result.describe();
    EXPECT_FALSE(result.timed_out) << result.describe();
    EXPECT_TRUE(result.leftovers.empty()) << result.describe();
  }
}

TEST_P(Processes, ARankThatExitsWithoutAWordIsAnError) {
  const ProcessResult result = run_processes(2, "rank_1_exits_without_a_word", options(2));
  EXPECT_NE(result.exit_code, 0) << result.describe();
  EXPECT_FALSE(result.timed_out) << result.describe();
  EXPECT_TRUE(result.leftovers.empty()) << result.describe();
}

}  // namespace
}  // namespace hvd
