// A job that trains while strangers hammer its sockets: it does not crash, comes to the same bits, and refuses them in few words.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>

#include "horovod_cpp/base/text.h"
#include "tests/harness/seed.h"
#include "tests/process/strangers.h"
#include "tests/process/training_job.h"

namespace hvd {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

int occurrences(const std::string& text, const std::string& words) {
  int count = 0;
  for (auto at = text.find(words); at != std::string::npos; at = text.find(words, at + 1)) ++count;
  return count;
}

class AmongStrangers : public TrainingJob {
 protected:
  // Hammers while the first ranks wait for the last one, while all connect, and while they train.
  ProcessResult train_and_hammer(Strangers& strangers, ProcessJob& job, long count) {
    const SocketAddress server =
        SocketAddress::parse(variable_of(job.rank_pid(0).value(), "HVD_RENDEZVOUS")).value();
    std::vector<std::uint16_t> ports;
    std::vector<int> waiting;
    for (int rank = 0; rank < kTrainingRanks - 1; ++rank) waiting.push_back(job.rank_pid(rank).value());
    // Strangers have processors of their own.
    const int usual = ::getpriority(PRIO_PROCESS, 0);
    ::setpriority(PRIO_PROCESS, 0, 19);
    EXPECT_TRUE(comes([&] { return (ports = listening_ports(waiting)).size() == waiting.size(); }));
    std::vector<SocketAddress> all(kTrainingRanks, server);
    for (const std::uint16_t port : ports) {
      all.push_back(server);
      all.back().set_port(port);
    }
    const auto never = [] { return false; };
    strangers.hammer(all, std::min(count / 10, 20'000L), never);
    mark(folder() + "/go");
    const Deadline deadline = Deadline::after(std::chrono::minutes(1));
    strangers.hammer(all, count / 3, [&] { return all_train() || deadline.passed(); });
    EXPECT_TRUE(comes([this] { return all_train(); })) << "the ranks do not come together";
    bootstrap_ = strangers.counts();
    strangers.hammer({server}, count - bootstrap_.connections - bootstrap_.failed, never);
    mark(folder() + "/stop");
    // What is started from now on, the same job without strangers, would wait for everybody else.
    ::setpriority(PRIO_PROCESS, 0, usual);
    return job.finish();
  }

  Strangers::Counts bootstrap_;
};

TEST_F(AmongStrangers, AJobComesToTheSameBits) {
  const long count = test_rounds(2'000, 1'000'000);
  Training disturbed;
  with_a_seed([&](std::uint64_t seed) {
    ProcessJob job(kTrainingRanks, "train", options(0));
    std::vector<Bytes> words = words_of_strangers();
    const auto pid = job.rank_pid(0);
    ASSERT_TRUE(pid.is_ok()) << pid.status().message();
    const std::string key = key_of(pid.value());
    ASSERT_FALSE(key.empty());
    for (int i = 0; i < 8; ++i) words.push_back(recorded_hello(key));
    Strangers strangers(words, seed);
    const auto begin = Clock::now();
    const ProcessResult result = train_and_hammer(strangers, job, count);
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    ASSERT_TRUE(result.is_clean()) << result.describe();
    disturbed = training_of(result);
    const Strangers::Counts& counts = strangers.counts();
    std::printf(
        "%ld connections of strangers (%ld before the ranks were together), %ld bytes, %ld refused, %ld not "
        "even made, %.1f s\n",
        counts.connections, bootstrap_.connections, counts.bytes, counts.refused, counts.failed, seconds);
    EXPECT_GT(counts.connections, count / 2);
    EXPECT_GT(counts.refused, 0);
    const int told = occurrences(result.err, "does not belong to the job");
    EXPECT_GE(told, 1) << result.err;
    EXPECT_LE(told, 20) << result.err;
    EXPECT_EQ(occurrences(result.err, "further ones are not reported"), 1);
    for (const std::string& words_of_ours : {key})
      EXPECT_EQ(result.err.find(words_of_ours), std::string::npos);
  });
  ASSERT_GT(disturbed.steps, 10);

  for (const char* old : {"/go", "/stop"}) fs::remove(folder() + old);
  mark(folder() + "/go");
  const ProcessResult result = run_processes(kTrainingRanks, "train", options(disturbed.steps));
  ASSERT_TRUE(result.is_clean()) << result.describe();
  const Training undisturbed = training_of(result);
  EXPECT_EQ(undisturbed.steps, disturbed.steps);
  EXPECT_EQ(undisturbed.bits, disturbed.bits) << "strangers have changed what the job computes";
  std::printf(
      "%ld steps; the longest took %.1f ms among strangers, %.1f ms without; %ld and %ld over 10 ms\n",
      disturbed.steps, disturbed.longest_ms, undisturbed.longest_ms, disturbed.slow_steps,
      undisturbed.slow_steps);
}

}  // namespace
}  // namespace hvd
