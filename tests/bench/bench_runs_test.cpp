// hvd_bench as a whole, with contenders that die, hang and are interrupted, and what is left then.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <thread>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/text.h"
#include "launcher/descendants.h"

namespace hvd::bench {
namespace {

using namespace std::chrono_literals;

std::string contents_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A run of hvd_bench that this test started. All that it may leave carries its process id.
class BenchRun {
 public:
  explicit BenchRun(std::vector<std::string> arguments) {
    output_ = ::testing::TempDir() + text("hvd-bench-test-", ::getpid());
    arguments.insert(arguments.begin(), HVD_TEST_BENCH);
    std::vector<char*> pointers;
    for (auto& word : arguments) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int out = ::open(output_.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
      if (out >= 0 && ::dup2(out, 1) == 1) ::dup2(out, 2);
      ::execv(pointers[0], pointers.data());
      ::_exit(127);
    }
  }
  ~BenchRun() {
    if (pid_ > 0) end_with(SIGKILL);
    std::filesystem::remove(output_);
  }
  BenchRun(const BenchRun&) = delete;
  BenchRun& operator=(const BenchRun&) = delete;

  std::string output() const { return contents_of(output_); }

  // Processes of a program below this run, once there are `count`.
  std::vector<pid_t> processes_of(const std::string& program, std::size_t count) const {
    const auto patience = Deadline::after(60s);
    std::vector<pid_t> found;
    while (!patience.passed()) {
      found.clear();
      for (const auto& process : launcher::descendants_of(pid_, launcher::list_processes())) {
        if (contents_of(text("/proc/", process.pid, "/cmdline")).find(program) != std::string::npos)
          found.push_back(process.pid);
      }
      if (found.size() >= count) return found;
      std::this_thread::sleep_for(20ms);
    }
    ADD_FAILURE() << "no " << count << " processes of " << program << "\n" << output();
    return {};
  }
  bool wait_until_it_says(const std::string& words) const {
    const auto patience = Deadline::after(60s);
    while (output().find(words) == std::string::npos) {
      if (patience.passed()) return false;
      std::this_thread::sleep_for(20ms);
    }
    return true;
  }

  // 128 + signal if one ended it.
  int end() {
    int status = 0;
    ::waitpid(std::exchange(pid_, 0), &status, 0);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  int end_with(int signal) {
    ::kill(pid_, signal);
    return end();
  }
  pid_t pid() const { return pid_; }

 private:
  std::string output_;
  pid_t pid_ = 0;
};

std::vector<std::string> what_is_left_of(pid_t run) {
  std::vector<std::string> left;
  for (const auto& process : launcher::list_processes()) {
    const std::string environment = contents_of(text("/proc/", process.pid, "/environ"));
    if (process.state != 'Z' &&
        environment.find(text("HVDBENCH_BOARD=/proc/", run, "/")) != std::string::npos)
      left.push_back(
          text("process ", process.pid, ": ", contents_of(text("/proc/", process.pid, "/cmdline"))));
  }
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    if (entry.path().filename().string().starts_with(text("hvd-bench-", run, "-")))
      left.push_back(entry.path());
  }
  return left;
}

std::vector<std::string> with(std::vector<std::string> some, const std::vector<std::string>& more) {
  some.insert(some.end(), more.begin(), more.end());
  return some;
}

const std::vector<std::string> kSmall{"--contenders", "session,floor", "--workloads",
                                      "single:256",   "--ranks",       "2"};
const std::vector<std::string> kEndless = with(kSmall, {"--rounds", "100000"});

TEST(BenchRuns, AllThatIsBuiltTakesPart) {
  BenchRun run({"--contenders", HVD_TEST_CONTENDERS, "--workloads", "single:256,many-small", "--rounds", "2",
                "--warm-up", "1", "--ranks", "2"});
  const pid_t pid = run.pid();
  EXPECT_EQ(run.end(), 0);
  const std::string output = run.output();
  for (const char* words :
       {"one tensor, 1 KiB", "many-small, 1000 tensors", "session: horovod_cpp", "floor: memory"})
    EXPECT_NE(output.find(words), std::string::npos) << words;
  EXPECT_EQ(output.find("without"), std::string::npos) << output;
  EXPECT_EQ(what_is_left_of(pid), std::vector<std::string>());
}

#if defined(HVD_TEST_WITH_STEPS)
TEST(BenchRuns, LibTorchTakesPart) {
  BenchRun run({"--contenders", "hooks,alone", "--workloads", "mlp,many-small", "--rounds", "2", "--warm-up",
                "2", "--ranks", "2"});
  const pid_t pid = run.pid();
  EXPECT_EQ(run.end(), 0);
  const std::string output = run.output();
  for (const char* words :
       {"mlp, a training step", "many-small, 1000 tensors", "hooks: horovod_cpp Dist", "alone: the same"})
    EXPECT_NE(output.find(words), std::string::npos) << words;
  EXPECT_EQ(output.find("without hooks"), std::string::npos) << output;
  EXPECT_EQ(output.find("without alone"), std::string::npos) << output;
  EXPECT_EQ(what_is_left_of(pid), std::vector<std::string>());
}
#endif

#if defined(HVD_TEST_PYTHON)
TEST(BenchRuns, PythonTakesPart) {
  BenchRun run({"--contenders", "python,python-group,python-hooks,python-alone", "--workloads",
                "mlp,char_gpt,many-small,single:256", "--rounds", "2", "--warm-up", "1", "--ranks", "2",
                "--python", HVD_TEST_PYTHON, "--sources", HVD_TEST_SOURCES});
  const pid_t pid = run.pid();
  EXPECT_EQ(run.end(), 0);
  const std::string output = run.output();
  for (const char* words : {"mlp, a training step", "char_gpt, a training step", "many-small, 1000 tensors",
                            "python: horovod_cpp Python", "python-group: horovod_cpp Python",
                            "python-hooks: horovod_cpp Python", "python-alone: torch"})
    EXPECT_NE(output.find(words), std::string::npos) << words << '\n' << output;
  EXPECT_EQ(output.find("without python"), std::string::npos) << output;
  EXPECT_EQ(what_is_left_of(pid), std::vector<std::string>());
}
#endif

TEST(BenchRuns, AContenderThatDiesIsNamedAndTheOthersGoOn) {
  BenchRun run(with(kSmall, {"--rounds", "1500"}));
  const pid_t pid = run.pid();
  ASSERT_TRUE(run.wait_until_it_says("2 ranks, single:256"));
  const auto ranks = run.processes_of("hvd_bench_floor", 2);
  ASSERT_GE(ranks.size(), 2U);
  ::kill(ranks[0], SIGKILL);
  EXPECT_EQ(run.end(), 0);
  const std::string output = run.output();
  EXPECT_NE(output.find("without floor: a process of it ended: signal 9"), std::string::npos) << output;
  EXPECT_NE(output.find("session: horovod_cpp Session"), std::string::npos) << output;
  EXPECT_EQ(what_is_left_of(pid), std::vector<std::string>());
}

TEST(BenchRuns, AContenderThatHangsIsNamedAndTheOthersGoOn) {
  BenchRun run(with(kSmall, {"--rounds", "1500", "--patience", "1"}));
  const pid_t pid = run.pid();
  ASSERT_TRUE(run.wait_until_it_says("2 ranks, single:256"));
  const auto ranks = run.processes_of("hvd_bench_floor", 2);
  ASSERT_GE(ranks.size(), 2U);
  ::kill(ranks[1], SIGSTOP);
  EXPECT_EQ(run.end(), 0);
  const std::string output = run.output();
  EXPECT_NE(output.find("without floor: no answer in time"), std::string::npos) << output;
  EXPECT_EQ(what_is_left_of(pid), std::vector<std::string>());
}

TEST(BenchRuns, CtrlCLeavesNothing) {
  BenchRun run(kEndless);
  const pid_t pid = run.pid();
  ASSERT_TRUE(run.wait_until_it_says("2 ranks, single:256"));
  EXPECT_EQ(run.end_with(SIGINT), 130);
  EXPECT_EQ(what_is_left_of(pid), std::vector<std::string>());
}

TEST(BenchRuns, RanksEndWithAConductorThatIsKilled) {
  BenchRun run(kEndless);
  const pid_t pid = run.pid();
  ASSERT_TRUE(run.wait_until_it_says("2 ranks, single:256"));
  run.end_with(SIGKILL);
  const auto patience = Deadline::after(60s);
  const auto processes_left = [&] {
    const auto left = what_is_left_of(pid);
    return std::any_of(left.begin(), left.end(), [](const auto& one) { return one.starts_with("process"); });
  };
  while (processes_left() && !patience.passed()) std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(processes_left());
  // Its folder is removed by the next run.
  EXPECT_EQ(BenchRun({"--contenders", "floor", "--workloads", "single:256", "--rounds", "2"}).end(), 0);
  EXPECT_EQ(what_is_left_of(pid), std::vector<std::string>());
}

TEST(BenchRuns, ABadCommandLineIsExplained) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> mistakes{
      {{"--workloads", "resnet"}, "workload 'resnet': expected sweep, resnet50"},
      {{"--contenders", "nobody"}, "contender 'nobody': expected some of openmpi"},
      {{"--ranks", "1"}, "--ranks"},
      {{"--ranks", "65"}, "--ranks"},
      {{"--rounds", "1"}, "--rounds"},
      {{"--quick", "--full"}, "excludes"},
      {{"--json", "/nowhere/file"}, "there is no folder /nowhere"},
      {{"--fast"}, "--fast"}};
  for (const auto& [arguments, words] : mistakes) {
    BenchRun run(arguments);
    EXPECT_EQ(run.end(), 2) << words;
    EXPECT_NE(run.output().find(words), std::string::npos) << run.output();
  }
}

}  // namespace
}  // namespace hvd::bench
