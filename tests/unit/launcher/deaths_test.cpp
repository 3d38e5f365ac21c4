#include "launcher/deaths.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <random>
#include <vector>

#include "tests/harness/seed.h"

namespace hvd::launcher {
namespace {

pid_t start_child() {
  const pid_t pid = fork();
  if (pid == 0) {
    while (true) ::pause();
  }
  return pid;
}

// Killed, and not yet reaped.
void kill_and_wait(pid_t pid) {
  kill(pid, SIGKILL);
  siginfo_t ended{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT), 0);
}

TEST(Deaths, ComeInTheirOrder) {
  for_each_seed(5, 100, [](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    Deaths deaths;
    std::vector<pid_t> children;
    for (int i = 0; i < 6; ++i) {
      children.push_back(start_child());
      deaths.watch(children.back());
    }
    EXPECT_FALSE(deaths.next().has_value());
    EXPECT_FALSE(deaths.nobody_is_left());
    std::shuffle(children.begin(), children.end(), random);
    const std::size_t first_look = random() % (children.size() + 1);
    std::vector<pid_t> seen;
    const auto look = [&] {
      while (const auto death = deaths.next()) {
        EXPECT_TRUE(WIFSIGNALED(death->status));
        seen.push_back(death->pid);
      }
    };
    for (std::size_t i = 0; i < children.size(); ++i) {
      if (i == first_look) look();
      kill_and_wait(children[i]);
    }
    look();
    EXPECT_EQ(seen, children);
    EXPECT_TRUE(deaths.nobody_is_left());
  });
}

TEST(Deaths, OthersAreReapedToo) {
  Deaths deaths;
  const pid_t watched = start_child();
  deaths.watch(watched);
  const pid_t other = start_child();
  kill_and_wait(other);
  const auto first = deaths.next();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->pid, other);
  kill_and_wait(watched);
  const auto second = deaths.next();
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->pid, watched);
  EXPECT_FALSE(deaths.next().has_value());
  EXPECT_TRUE(deaths.nobody_is_left());
}

}  // namespace
}  // namespace hvd::launcher
