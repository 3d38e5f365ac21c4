// Signals that interrupt system calls all the time, and peers that die while they are written to.
#include <gtest/gtest.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <fstream>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/world.h"
#include "tests/harness/process_case.h"
#include "tests/harness/process_job.h"
#include "tests/ranks/any_order.h"
#include "tests/ranks/every_operation.h"
#include "tests/ranks/session_calls.h"

namespace hvd {
namespace {

int fail(const std::string& why) {
  std::fprintf(stderr, "case failed on rank %d: %s\n", process_rank(), why.c_str());
  return 1;
}

// By any thread.
std::atomic<int> signals_taken{0};
static_assert(std::atomic<int>::is_always_lock_free);

// As a profiler does, but ten times as often; interrupted calls are not begun anew.
void start_storm() {
  struct sigaction action{};
  action.sa_handler = [](int) { ++signals_taken; };
  ::sigaction(SIGALRM, &action, nullptr);
  const itimerval every_millisecond{{0, 1000}, {0, 1000}};
  ::setitimer(ITIMER_REAL, &every_millisecond, nullptr);
}

// From now on the Session's own threads take them.
void leave_storm_to_others() {
  sigset_t alarm;
  ::sigemptyset(&alarm);
  ::sigaddset(&alarm, SIGALRM);
  ::pthread_sigmask(SIG_BLOCK, &alarm, nullptr);
}

EpochPlan one_bucket(std::size_t elements) {
  EpochPlan plan;
  plan.buckets.push_back({0, elements, DataType::float32, 0, 1});
  plan.payload_bytes = elements * sizeof(float);
  plan.flags = 1;
  return plan;
}

// Memory that takes longer to get than a signal to come.
std::string reduce_in_epochs(Session& session, const std::string& name) {
  constexpr std::size_t kElements = std::size_t{24} << 20U;
  std::shared_ptr<Epochs> epochs;
  const Status opened =
      session.open_epochs(name, one_bucket(kElements), 0, [&](auto taken) { epochs = std::move(taken); })
          .wait(soon());
  if (session.backends().find("cpu shm") == std::string::npos)
    return opened.is_ok() ? "epochs over a wire?" : "";
  if (!opened.is_ok()) return opened.message();
  auto* const values = reinterpret_cast<float*>(epochs->payload());
  for (int epoch = 1; epoch <= 3; ++epoch) {
    std::fill_n(values, kElements, static_cast<float>(epoch));
    epochs->own_flags()[0] = std::byte{1};
    epochs->publish(0);
    epochs->close({});
    const auto outcome = epochs->wait(soon());
    if (!outcome || outcome->state != EpochState::complete)
      return "an epoch failed: " + epochs->failure().message();
    if (values[kElements - 1] != static_cast<float>(epoch * session.size())) return "a sum is wrong";
  }
  return "";
}

std::string use(Session& session, const std::string& name) {
  std::string wrong = do_every_step(session, all_ranks(session), name, 1);
  if (wrong.empty()) wrong = submit_in_any_order(session, 7, 100, soon());
  if (wrong.empty()) wrong = reduce_in_epochs(session, name + " epochs");
  return wrong;
}

HVD_PROCESS_CASE(everything_in_a_storm) {
  start_storm();
  auto session = open_session();
  if (!session.is_ok()) return fail(session.status().message());
  std::string wrong = use(**session, "mine");
  const int mine = signals_taken;
  if (wrong.empty()) {
    leave_storm_to_others();
    wrong = use(**session, "theirs");
  }
  if (!wrong.empty()) return fail(wrong);
  std::printf("taken: %d, then %d\n", mine, signals_taken - mine);
  if (mine < 20 || signals_taken - mine < 20) return fail("there was no storm");
  const Status left = (*session)->shutdown(soon());
  return left.is_ok() ? 0 : fail(left.message());
}

using Environment = std::vector<std::pair<std::string, std::string>>;
const Environment kTcp{{"HVD_CONTROL", "tcp"}, {"HVD_CPU_OPERATIONS", "ring"}};

class Signals : public testing::TestWithParam<Environment> {};
INSTANTIATE_TEST_SUITE_P(Over, Signals, testing::Values(Environment{}, kTcp),
                         [](const auto& info) { return info.param.empty() ? "shm" : "tcp"; });

TEST_P(Signals, ThatInterruptEveryCallChangeNothing) {
  ProcessOptions options;
  options.environment = GetParam();
  const ProcessResult result = run_processes(2, "everything_in_a_storm", options);
  EXPECT_TRUE(result.is_clean()) << result.describe();
  std::printf("%s", result.out.c_str());
}

// Large enough that a rank which dies finds the others writing to it.
HVD_PROCESS_CASE(write_until_a_peer_dies) {
  auto session = open_session();
  if (!session.is_ok()) return fail(session.status().message());
  std::vector<float> values(std::size_t{1} << 20U, 0.0F);
  const Declaration declaration =
      float_tensor(OpKind::allreduce, "values", {static_cast<std::int64_t>(values.size())});
  Status status;
  for (int round = 0; status.is_ok(); ++round) {
    status = submit(**session, declaration, values.data()).wait(soon());
    if (round == 3) process_reached("work");
  }
  session.value().reset();
  // The program's own disposition is as it was.
  struct sigaction action{};
  sigset_t blocked;
  ::sigaction(SIGPIPE, nullptr, &action);
  ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  const bool is_default = action.sa_handler == SIG_DFL && ::sigismember(&blocked, SIGPIPE) == 0;
  std::ofstream(process_folder() + text("/lives.", process_rank()))
      << (is_default ? "" : "changed: ") << status.message();
  return 3;
}

TEST_P(Signals, OfPipesKillNobodyWhosePeerDies) {
  ProcessOptions options;
  options.environment = GetParam();
  for (const int victim : {0, 2}) {
    ProcessJob job(3, "write_until_a_peer_dies", options);
    ASSERT_TRUE(job.wait_until_reached(victim, "work").is_ok());
    ASSERT_TRUE(job.kill_rank(victim, SIGKILL).is_ok());
    const ProcessResult result = job.finish();
    EXPECT_FALSE(result.timed_out) << result.describe();
    int living = 0;
    for (const auto& [name, content] : result.files) {
      if (!name.starts_with("lives.")) continue;
      ++living;
      EXPECT_TRUE(content.starts_with(text("rank ", victim, " "))) << content;
    }
    EXPECT_EQ(living, 2) << result.describe();
    EXPECT_EQ(result.err.find("SIGPIPE"), std::string::npos) << result.describe();
  }
}

}  // namespace
}  // namespace hvd
