// Jobs that go on without ranks that they lose.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <random>
#include <thread>

#include "horovod_cpp/base/text.h"
#include "tests/harness/run_processes.h"
#include "tests/harness/seed.h"
#include "tests/torch/elastic_run.h"

namespace hvd {
namespace {

using Environment = std::vector<std::pair<std::string, std::string>>;
const Environment kTcp{{"HVD_CONTROL", "tcp"}, {"HVD_CPU_OPERATIONS", "ring"}};

ProcessOptions elastic(int min_np, const Environment& environment = {}) {
  ProcessOptions options;
  options.launcher_arguments = {"--min-np", std::to_string(min_np), "--elastic-timeout", "1"};
  options.environment = environment;
  return options;
}

// All who are left have come to the end with the parameters that a fresh run of as many ranks, from the state in which they met, has.
void expect_good_end(const ProcessResult& result, const std::vector<int>& left) {
  ASSERT_TRUE(result.is_clean()) << result.describe();
  const int size = static_cast<int>(left.size());
  const auto state = result.files.find(text("met.", size));
  ASSERT_NE(state, result.files.end()) << result.describe();
  const std::string bits = final_bits_of_fresh_run(size, state->second);
  for (int i = 0; i < size; ++i) {
    const int number = left[static_cast<std::size_t>(i)];
    EXPECT_EQ(result.files.at(text("final.", number)), text("rank ", i, " of ", size, ": ", bits));
    EXPECT_LE(std::stoi(result.files.at(text("lost_steps.", number))), 1);
  }
}

// Kills these ranks once everybody trains; what hvdrun says of each is there.
std::int64_t kill_and_finish(const std::vector<int>& ranks, std::chrono::microseconds delay,
                             ProcessOptions options, ProcessResult& result) {
  ProcessJob job(kElasticRanks, "trains_on", std::move(options));
  for (int rank = 0; rank < kElasticRanks; ++rank) {
    const Status reached = job.wait_until_reached(rank, "training");
    EXPECT_TRUE(reached.is_ok()) << reached.message();
  }
  std::this_thread::sleep_for(delay);
  for (const int rank : ranks) EXPECT_TRUE(job.kill_rank(rank, SIGKILL).is_ok());
  const std::int64_t killed = monotonic_ns();
  result = job.finish();
  for (const int rank : ranks) {
    EXPECT_NE(result.err.find(text("rank ", rank, " ")), std::string::npos) << result.describe();
  }
  EXPECT_NE(result.err.find("killed by SIGKILL (9)"), std::string::npos) << result.describe();
  return killed;
}

std::vector<int> others(const std::vector<int>& lost) {
  std::vector<int> left;
  for (int rank = 0; rank < kElasticRanks; ++rank) {
    if (std::find(lost.begin(), lost.end(), rank) == lost.end()) left.push_back(rank);
  }
  return left;
}

// A random rank at a random moment; every second time its forked child, and the others', live on.
TEST(Elastic, TheOthersGoOnAsAFreshRunWould) {
  std::vector<double> seconds;
  int round = 0;
  for_each_seed(2, 200, [&](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    ProcessOptions options = elastic(3);
    if (round++ % 2 == 1) options.case_arguments = {"fork"};
    const std::vector<int> lost{static_cast<int>(random() % kElasticRanks)};
    ProcessResult result;
    const auto killed = kill_and_finish(lost, std::chrono::microseconds(random() % 100'000), options, result);
    expect_good_end(result, others(lost));
    for (const int rank : others(lost)) {
      const auto resumed = result.files.find(text("resumed.", rank));
      ASSERT_NE(resumed, result.files.end()) << result.describe();
      seconds.push_back(static_cast<double>(std::stoll(resumed->second) - killed) / 1e9);
    }
  });
  if (seconds.empty()) return;
  std::sort(seconds.begin(), seconds.end());
  std::printf("from the kill to the next step: median %.0f ms, longest %.0f ms, %zu survivors\n",
              1e3 * seconds[seconds.size() / 2], 1e3 * seconds.back(), seconds.size());
}

TEST(Elastic, OverTcpToo) {
  ProcessResult result;
  kill_and_finish({2}, {}, elastic(3, kTcp), result);
  expect_good_end(result, {0, 1, 3});
}

TEST(Elastic, ALossBeforeTheFirstCommit) {
  ProcessOptions options = elastic(3);
  options.case_arguments = {"dies early"};
  const ProcessResult result = run_processes(kElasticRanks, "trains_on", options);
  EXPECT_TRUE(result.is_clean()) << result.describe();
  for (const int number : {0, 2, 3})
    EXPECT_TRUE(result.files.contains(text("final.", number))) << result.describe();
}

TEST(Elastic, TwoAtOnce) {
  ProcessResult result;
  kill_and_finish({0, 2}, {}, elastic(2), result);
  expect_good_end(result, {1, 3});
}

TEST(Elastic, TheLastOneGoesOnAlone) {
  ProcessResult result;
  kill_and_finish({0, 1, 2}, {}, elastic(1), result);
  expect_good_end(result, {3});
}

TEST(Elastic, TooFewEndWithTheFirstCause) {
  ProcessResult result;
  kill_and_finish({1, 2}, {}, elastic(3), result);
  EXPECT_EQ(result.exit_code, 128 + SIGKILL) << result.describe();
  EXPECT_TRUE(result.leftovers.empty()) << result.describe();
  EXPECT_NE(result.err.find("--min-np asks for 3"), std::string::npos) << result.describe();
}

TEST(Elastic, WithoutMinNpALossEndsTheJob) {
  ProcessResult result;
  kill_and_finish({1}, {}, {}, result);
  EXPECT_EQ(result.exit_code, 128 + SIGKILL) << result.describe();
  EXPECT_TRUE(result.leftovers.empty()) << result.describe();
  EXPECT_NE(result.err.find("hvdrun --min-np N"), std::string::npos) << result.describe();
}

// Rank 1 is stopped, rank 3 dies: the others wait for rank 1 as long as --elastic-timeout says. When it wakes it is told to leave.
TEST(Elastic, WhoIsGivenUpIsToldToLeave) {
  ProcessJob job(kElasticRanks, "trains_on", elastic(2));
  for (int rank = 0; rank < kElasticRanks; ++rank)
    ASSERT_TRUE(job.wait_until_reached(rank, "training").is_ok());
  ASSERT_TRUE(job.kill_rank(1, SIGSTOP).is_ok());
  ASSERT_TRUE(job.kill_rank(3, SIGKILL).is_ok());
  ASSERT_TRUE(job.wait_until_reached(0, "training again").is_ok());
  ASSERT_TRUE(job.kill_rank(1, SIGCONT).is_ok());
  const ProcessResult result = job.finish();
  expect_good_end(result, {0, 2});
  for (const char* words :
       {"rank 1 (pid ", "did not come when the others met again", "rank 1 was given up"}) {
    EXPECT_NE(result.err.find(words), std::string::npos) << words << '\n' << result.describe();
  }
}

// How long a rank may be silent: longer than a busy machine holds one up when it starts. ThreadSanitizer makes everything slow.
#ifdef HVD_TEST_IS_SANITIZED
constexpr int kSilence = 10;
#else
constexpr int kSilence = 3;
#endif

ProcessOptions with_silence(ProcessOptions options) {
  options.environment.emplace_back("HVD_STALL_SHUTDOWN_TIME_SECONDS", std::to_string(kSilence));
  return options;
}

// Stops the rank after a random time of training.
void stop(ProcessJob& job, int rank, std::mt19937_64& random) {
  for (int each = 0; each < kElasticRanks; ++each) {
    const Status reached = job.wait_until_reached(each, "training");
    ASSERT_TRUE(reached.is_ok()) << reached.message();
  }
  std::this_thread::sleep_for(std::chrono::microseconds(random() % 100'000));
  ASSERT_TRUE(job.kill_rank(rank, SIGSTOP).is_ok());
}

// A random rank at a random moment, on shared memory and over TCP in turn. It wakes while the others train on without it.
TEST(Elastic, WhoIsStoppedIsGivenUpAndDisturbsNobodyWhenItWakes) {
  int round = 0;
  for_each_seed(2, 100, [&](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    const int stopped = static_cast<int>(random() % kElasticRanks);
    const std::vector<int> left = others({stopped});
    ProcessJob job(kElasticRanks, "trains_on",
                   with_silence(round++ % 2 == 0 ? elastic(3) : elastic(3, kTcp)));
    stop(job, stopped, random);
    const Status goes_on = job.wait_until_reached(left.front(), "training again");
    ASSERT_TRUE(goes_on.is_ok()) << goes_on.message();
    ASSERT_TRUE(job.kill_rank(stopped, SIGCONT).is_ok());
    const ProcessResult result = job.finish();
    expect_good_end(result, left);
    EXPECT_NE(result.err.find(text("rank ", stopped, " was given up")), std::string::npos)
        << result.describe();
    EXPECT_EQ(result.err.find("exited"), result.err.rfind("exited")) << "only one\n" << result.describe();
  });
}

TEST(Elastic, WithoutMinNpARankThatIsStoppedEndsTheJobIfAsked) {
  for (const Environment& environment : {Environment{}, kTcp}) {
    with_a_seed([&](std::uint64_t seed) {
      std::mt19937_64 random(seed);
      ProcessOptions options;
      options.environment = environment;
      options.launcher_arguments = {"--failure-grace", "1"};
      ProcessJob job(kElasticRanks, "trains_on", with_silence(std::move(options)));
      stop(job, 2, random);
      const ProcessResult result = job.finish();
      EXPECT_NE(result.exit_code, 0) << result.describe();
      EXPECT_FALSE(result.timed_out) << result.describe();
      EXPECT_TRUE(result.leftovers.empty()) << result.describe();
      // By whichever of those who wait notices first.
      EXPECT_NE(result.err.find("rank 2"), std::string::npos) << result.describe();
      EXPECT_NE(result.err.find("its process is stopped (SIGSTOP or a terminal); kill -CONT "),
                std::string::npos)
          << result.describe();
    });
  }
}

}  // namespace
}  // namespace hvd
