// examples/digits under hvdrun, of which a rank is killed at any moment: while it starts, trains, and ends.
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/torch/context.h"
#include "tests/harness/leftovers.h"
#include "tests/harness/process_case.h"
#include "tests/harness/process_job.h"
#include "tests/harness/seed.h"
#include "tests/process/launcher_job.h"

// main of examples/digits.cpp, which is compiled into this program under this name.
int digits_main(int argc, char** argv);

namespace hvd {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kRanks = 4;

// digits, of which every rank has a forked child that holds all its descriptors and maps all its memory, as a data loader's workers do.
HVD_PROCESS_CASE(digits_with_a_child) {
  init();
  if (::fork() == 0) {
    while (true) ::pause();
  }
  std::vector<std::string> words{"digits"};
  words.insert(words.end(), process_arguments().begin(), process_arguments().end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return digits_main(static_cast<int>(words.size()), pointers.data());
}

std::vector<std::string> command(bool with_children) {
  const std::string folder = program_folder();
  std::vector<std::string> words{"-np", std::to_string(kRanks), "--verbose", "--failure-grace", "30"};
  if (with_children) {
    words.insert(words.end(), {folder + "/torch_digits_deaths_tests", kCaseArgument, "digits_with_a_child"});
  } else {
    words.push_back(folder + "/digits");
  }
  words.insert(words.end(),
               {"--data", folder + "/../data/digits.csv", "--epochs", "3", "--global-batch-size", "240"});
  return words;
}

// What hvdrun --verbose says: "hvdrun: rank 2: pid 12, …".
pid_t pid_of_rank(const LauncherJob& job, int rank) {
  const std::string words = text("hvdrun: rank ", rank, ": pid ");
  const std::size_t at = job.err().find(words);
  return at == std::string::npos ? -1 : std::stoi(job.err().substr(at + words.size()));
}

struct Moment {
  const char* awaited;  // in the output, before it
  std::chrono::microseconds delay;
};

Moment random_moment(std::mt19937_64& random) {
  const auto up_to = [&random](int ms) {
    return std::chrono::microseconds(random() % (std::uint64_t{1000} * static_cast<unsigned>(ms)));
  };
  switch (random() % 4) {
    case 0:
      return {"hvdrun: rank 3: pid ", up_to(2000)};  // loads libraries, meets the others
    case 1:
      return {"epoch 3/3", up_to(50)};  // says goodbye
    default:
      return {"epoch 1/3", up_to(300)};
  }
}

// False if it had ended before.
bool kill_by(pid_t pid, int signal) { return pid > 0 && ::kill(pid, signal) == 0; }

// In /dev/shm; /tmp is where other tests work at the same time. What others have there for a moment is gone after a few seconds.
std::vector<std::string> new_shared_files(const std::set<std::string>& before) {
  std::vector<std::string> left;
  for (int look = 0; look < 50; ++look) {
    left = abandoned_files(before);
    std::erase_if(left, [](const std::string& file) { return !file.starts_with("/dev/shm/"); });
    if (left.empty()) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return left;
}

// Seconds from the kill to the end of hvdrun; negative if the job was faster.
double kill_one(bool with_children, std::mt19937_64& random) {
  const auto files = shared_files();
  const int victim = static_cast<int>(random() % kRanks);
  const Moment moment = random_moment(random);
  LauncherJobOptions options;
  options.environment = {{"OMP_NUM_THREADS", "1"}};
  LauncherJob job(command(with_children), options);
  EXPECT_TRUE(job.wait_for(moment.awaited)) << job.both();
  EXPECT_TRUE(job.wait_for(text("hvdrun: rank ", victim, ": pid "))) << job.both();
  std::this_thread::sleep_for(moment.delay);
  // A zombie of hvdrun's can be signalled too: whether the rank had ended is seen from what hvdrun says.
  const auto killed = Clock::now();
  const bool was_there = kill_by(pid_of_rank(job, victim), SIGKILL);
  const int status = job.finish();
  const double seconds = std::chrono::duration<double>(Clock::now() - killed).count();
  EXPECT_EQ(job.survivors(std::chrono::seconds(0)), "") << "nothing outlives hvdrun\n" << job.both();
  EXPECT_EQ(new_shared_files(files), std::vector<std::string>{}) << job.both();
  if (status == 0 || !was_there) return -1;
  EXPECT_EQ(status, 128 + SIGKILL) << job.both();
  // The first of hvdrun's words that is no answer to --verbose.
  const std::string cause = text("hvdrun: rank ", victim, " (pid ", pid_of_rank(job, victim),
                                 ") was killed by SIGKILL (9); the job has ended\n");
  EXPECT_NE(job.err().find(cause), std::string::npos) << job.both();
  EXPECT_EQ(job.err().find(" ended by hvdrun"), std::string::npos) << "ranks notice by themselves\n"
                                                                   << job.both();
  return seconds;
}

TEST(DigitsDeaths, AreNamedAndLeaveNothing) {
  std::vector<double> seconds;
  int rounds = 0;
  for_each_seed(2, 200, [&](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    SCOPED_TRACE(text("round ", rounds, rounds % 2 == 1 ? ", with children" : ""));
    const double took = kill_one(rounds++ % 2 == 1, random);
    if (took >= 0) seconds.push_back(took);
  });
  if (seconds.empty()) return;
  std::sort(seconds.begin(), seconds.end());
  std::printf(
      "%d rounds, %zu of them with a death: from the kill to the end of hvdrun median %.0f ms, longest %.0f "
      "ms, %td over 2 s\n",
      rounds, seconds.size(), 1e3 * seconds[seconds.size() / 2], 1e3 * seconds.back(),
      std::count_if(seconds.begin(), seconds.end(), [](double s) { return s > 2; }));
}

}  // namespace
}  // namespace hvd
