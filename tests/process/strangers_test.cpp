// A job that trains while strangers hammer its sockets: it does not crash, comes to the same bits, and refuses them in few words.
#include <gtest/gtest.h>
#include <sched.h>
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

// Strangers come from other machines: they have processors of their own, the job (hvdrun too) has the others. What is started afterwards
// inherits where this process runs. With one processor all share it.
class Processors {
 public:
  Processors() {
    ::sched_getaffinity(0, sizeof(all_), &all_);
    int left = CPU_COUNT(&all_) / 2;
    CPU_ZERO(&of_job_);
    CPU_ZERO(&of_strangers_);
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &all_)) CPU_SET(cpu, left-- > 0 ? &of_job_ : &of_strangers_);
    }
    if (CPU_COUNT(&of_job_) == 0) of_job_ = of_strangers_;
  }
  ~Processors() { ::sched_setaffinity(0, sizeof(all_), &all_); }
  Processors(const Processors&) = delete;
  Processors& operator=(const Processors&) = delete;

  void as_job() { EXPECT_EQ(::sched_setaffinity(0, sizeof(of_job_), &of_job_), 0); }
  void as_strangers() { EXPECT_EQ(::sched_setaffinity(0, sizeof(of_strangers_), &of_strangers_), 0); }

 private:
  cpu_set_t all_{};
  cpu_set_t of_job_{};
  cpu_set_t of_strangers_{};
};

class AmongStrangers : public TrainingJob {
 protected:
  // Hammers while the first ranks wait for the last one, while all connect, and while they train.
  ProcessResult train_and_hammer(Strangers& strangers, ProcessJob& job, long count) {
    const SocketAddress server =
        SocketAddress::parse(variable_of(job.rank_pid(0).value(), "HVD_RENDEZVOUS")).value();
    std::vector<std::uint16_t> ports;
    std::vector<int> waiting;
    for (int rank = 0; rank < kTrainingRanks - 1; ++rank) waiting.push_back(job.rank_pid(rank).value());
    processors_.as_strangers();
    // Should there be only one.
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
    // What is started from now on is the same job without strangers.
    ::setpriority(PRIO_PROCESS, 0, usual);
    processors_.as_job();
    return job.finish();
  }

  Processors processors_;
  Strangers::Counts bootstrap_;
};

TEST_F(AmongStrangers, AJobComesToTheSameBits) {
  const long count = test_rounds(2'000, 1'000'000);
  Training disturbed;
  with_a_seed([&](std::uint64_t seed) {
    processors_.as_job();
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
