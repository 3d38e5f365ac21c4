// How jobs end: exit statuses, last words, signals, and nobody left behind.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <random>
#include <string>

#include "tests/process/launcher_job.h"

namespace hvd {
namespace {

// What hvdrun itself said.
std::vector<std::string> words_of_hvdrun(const LauncherJob& job) {
  std::vector<std::string> lines;
  for (const auto& line : lines_of(job.err())) {
    if (line.starts_with("hvdrun: ")) lines.push_back(line);
  }
  return lines;
}

TEST(LauncherEnding, IsSilentWhenAllGoesWell) {
  LauncherJob job({"-np", "3", "true"});
  EXPECT_EQ(job.finish(), 0);
  EXPECT_EQ(job.out() + job.err(), "");
  EXPECT_EQ(job.survivors(), "");
}

TEST(LauncherEnding, ReportsTheFirstExitCode) {
  LauncherJob job(
      {"-np", "3", "sh", "-c", "test $HVD_RANK = 1 && exit 42; sleep 0.6; echo I noticed >&2; exit 1"});
  EXPECT_EQ(job.finish(), 42);
  const auto words = words_of_hvdrun(job);
  ASSERT_EQ(words.size(), 2U) << job.both();
  EXPECT_NE(words[0].find("rank 1 (pid "), std::string::npos);
  EXPECT_NE(words[0].find("exited with status 42; the job has ended"), std::string::npos);
  EXPECT_EQ(words[1], "hvdrun: then ranks 0, 2 exited with status 1");
  EXPECT_NE(job.err().find("[0] I noticed"), std::string::npos) << "the others have time to say why";
  EXPECT_EQ(lines_of(job.err()).back(), words[1]) << "hvdrun's words come last";
}

TEST(LauncherEnding, NamesTheSignalThatKilledARank) {
  LauncherJob job({"-np", "3", "sh", "-c", "test $HVD_RANK = 2 && kill -9 $$; sleep 0.6"});
  EXPECT_EQ(job.finish(), 137);
  const auto words = words_of_hvdrun(job);
  ASSERT_EQ(words.size(), 1U) << job.both();
  EXPECT_NE(words[0].find("rank 2 (pid "), std::string::npos);
  EXPECT_NE(words[0].find(") was killed by SIGKILL (9); the job has ended"), std::string::npos);
}

TEST(LauncherEnding, GivesRanksThatDoNotNoticeATermAndThenAKill) {
  LauncherJob job({"-np", "3", "--failure-grace", "0.3", "--kill-grace", "0.5", "bash", "-c",
                   "case $HVD_RANK in 0) sleep 0.2; exit 7;; 1) trap 'echo got TERM; exit 0' TERM;; 2) trap "
                   "'' TERM;; esac; "
                   "while :; do sleep 0.05; done"});
  EXPECT_EQ(job.finish(), 7);
  EXPECT_NE(job.out().find("[1] got TERM"), std::string::npos) << job.both();
  const auto words = words_of_hvdrun(job);
  ASSERT_EQ(words.size(), 2U) << job.both();
  EXPECT_EQ(words[1], "hvdrun: then rank 2 was ended by hvdrun with SIGKILL (9)");
  EXPECT_EQ(job.survivors(), "");
}

TEST(LauncherEnding, LeavesNoProcessThatARankHasStarted) {
  LauncherJob job({"-np", "2", "bash", "-c",
                   "setsid sleep 1000 & (trap '' TERM HUP; exec setsid sleep 1000) & disown -a; exit 0"});
  EXPECT_EQ(job.finish(), 0) << job.both();
  EXPECT_EQ(job.survivors(std::chrono::seconds(0)), "") << "all gone before hvdrun ends";
}

TEST(LauncherEnding, PassesSignalsOn) {
  for (const auto& [signal, name] : {std::pair{SIGINT, "INT"},
                                     {SIGTERM, "TERM"},
                                     {SIGHUP, "HUP"},
                                     {SIGQUIT, "QUIT"},
                                     {SIGUSR1, "USR1"},
                                     {SIGUSR2, "USR2"}}) {
    LauncherJob job({"-np", "2", "bash", "-c",
                     std::string("trap 'echo got ") + name + "; exit 0' " + name +
                         "; echo ready; while :; do sleep 0.05; done"});
    ASSERT_TRUE(job.wait_for("ready", 2)) << name << job.both();
    kill(job.pid(), signal);
    EXPECT_EQ(job.finish(), 0) << name << ": the ranks took it as a request\n" << job.both();
    EXPECT_NE(job.out().find(std::string("[0] got ") + name), std::string::npos) << job.both();
    EXPECT_NE(job.out().find(std::string("[1] got ") + name), std::string::npos) << job.both();
    EXPECT_EQ(job.survivors(), "");
  }
}

TEST(LauncherEnding, ByASignalHasTheSignalsStatus) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    LauncherJob job({"-np", "2", "sh", "-c", "echo ready; exec sleep 1000"});
    ASSERT_TRUE(job.wait_for("ready", 2));
    kill(job.pid(), signal);
    EXPECT_EQ(job.finish(), 128 + signal) << job.both();
    EXPECT_EQ(words_of_hvdrun(job).size(), 1U) << job.both();
    EXPECT_EQ(job.survivors(), "");
  }
}

TEST(LauncherEnding, KillsRanksThatIgnoreTheSignal) {
  LauncherJob job({"-np", "2", "--kill-grace", "0.3", "bash", "-c",
                   "trap '' TERM; echo ready; while :; do sleep 0.05; done"});
  ASSERT_TRUE(job.wait_for("ready", 2));
  kill(job.pid(), SIGTERM);
  EXPECT_EQ(job.finish(), 143);
  EXPECT_EQ(job.survivors(), "");
}

TEST(LauncherEnding, KillsAtTheSecondInterrupt) {
  LauncherJob job({"-np", "2", "--kill-grace", "1000", "bash", "-c",
                   "trap 'echo not yet' INT; echo ready; while :; do sleep 0.05; done"});
  ASSERT_TRUE(job.wait_for("ready", 2));
  kill(job.pid(), SIGINT);
  ASSERT_TRUE(job.wait_for("not yet", 2)) << job.both();
  kill(job.pid(), SIGINT);
  EXPECT_EQ(job.finish(), 130);
  EXPECT_EQ(job.survivors(), "");
}

TEST(LauncherEnding, RespectsNohup) {
  LauncherJobOptions options;
  options.ignored_signals = {SIGHUP};
  LauncherJob job({"-np", "2", "sh", "-c", "echo ready; sleep 1; echo lived"}, options);
  ASSERT_TRUE(job.wait_for("ready", 2));
  kill(job.pid(), SIGHUP);
  EXPECT_EQ(job.finish(), 0) << job.both();
  EXPECT_NE(job.out().find("[1] lived"), std::string::npos);
}

TEST(LauncherEnding, CanBeSuspendedAndResumed) {
  LauncherJobOptions options;
  options.wrapper = {"bash", "-c", "\"$0\" \"$@\"; exit $?"};  // somebody who could continue it
  LauncherJob job({"-np", "2", "bash", "-c", "echo pid $$; while ! test -e /proc/$$/x; do sleep 0.05; done"},
                  options);
  ASSERT_TRUE(job.wait_for("pid ", 2)) << job.both();
  std::vector<pid_t> ranks;
  for (const auto& line : lines_of(job.out())) ranks.push_back(std::stoi(line.substr(line.find("pid ") + 4)));
  kill(-job.pid(), SIGTSTP);
  const auto all_are = [&](bool stopped) {
    for (int i = 0; i < 2000; ++i) {
      bool all = true;
      for (const pid_t rank : ranks) all &= (state_of(rank) == 'T') == stopped;
      if (all) return true;
      usleep(10'000);
    }
    return false;
  };
  EXPECT_TRUE(all_are(true));
  kill(-job.pid(), SIGCONT);
  EXPECT_TRUE(all_are(false));
  kill(-job.pid(), SIGTERM);
  job.finish();
  EXPECT_EQ(job.survivors(), "");
}

// Wrappers, children of ranks, children that have left the process group and the session.
const std::vector<std::string> kTangle{
    "-np", "2", "bash", "-c",
    "bash -c 'sleep 1000; true' & setsid bash -c 'setsid sleep 1000 & sleep 1000; true' & "
    "echo ready; sleep 1000; true"};

TEST(LauncherOrphans, ThereAreNoneWhenHvdrunIsKilled) {
  LauncherJob job(kTangle);
  ASSERT_TRUE(job.wait_for("ready", 2)) << job.both();
  kill(job.pid(), SIGKILL);
  EXPECT_EQ(job.survivors(), "");
}

TEST(LauncherOrphans, ThereAreNoneWhenItsProcessGroupIsKilled) {
  LauncherJob job(kTangle);
  ASSERT_TRUE(job.wait_for("ready", 2)) << job.both();
  kill(-job.pid(), SIGKILL);
  EXPECT_EQ(job.survivors(), "");
}

TEST(LauncherOrphans, ThereAreNoneWhenTheSupervisorIsKilled) {
  LauncherJob job(kTangle);
  ASSERT_TRUE(job.wait_for("ready", 2)) << job.both();
  const pid_t supervisor = job.supervisor();
  ASSERT_NE(supervisor, 0);
  kill(supervisor, SIGKILL);
  EXPECT_EQ(job.finish(), 137);
  EXPECT_NE(job.err().find("supervisor process"), std::string::npos) << job.both();
  EXPECT_EQ(job.survivors(std::chrono::seconds(0)), "");
}

TEST(LauncherOrphans, ThereAreNoneWhenHvdrunIsKilledWhileTheSupervisorIsStopped) {
  LauncherJob job(kTangle);
  ASSERT_TRUE(job.wait_for("ready", 2)) << job.both();
  kill(job.supervisor(), SIGSTOP);
  kill(job.pid(), SIGKILL);
  EXPECT_EQ(job.survivors(), "");
}

TEST(LauncherOrphans, RanksDieEvenIfBothAreKilledAtOnce) {
  LauncherJob job({"-np", "2", "sh", "-c", "echo ready; exec sleep 1000"});
  ASSERT_TRUE(job.wait_for("ready", 2)) << job.both();
  const pid_t supervisor = job.supervisor();
  kill(job.pid(), SIGSTOP);
  kill(supervisor, SIGSTOP);
  kill(job.pid(), SIGKILL);
  kill(supervisor, SIGKILL);
  EXPECT_EQ(job.survivors(), "");
}

// pkill hits by name or command line: it must not hit front process and supervisor alike.
TEST(LauncherOrphans, TheSupervisorHasANameOfItsOwn) {
  LauncherJob job({"-np", "1", "sh", "-c", "tr '\\0' ' ' < /proc/$PPID/cmdline; cat /proc/$PPID/comm"});
  EXPECT_EQ(job.finish(), 0);
  EXPECT_EQ(job.out().find("hvdrun"), std::string::npos) << job.out();
  EXPECT_NE(job.out().find("hvd-supervisor"), std::string::npos) << job.out();
}

TEST(LauncherOrphans, ThereAreNoneWheneverEitherIsKilled) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 30; ++round) {
    LauncherJob job({"-np", "3", "bash", "-c", "setsid sleep 1000 & sleep 1000; true"});
    usleep(static_cast<useconds_t>(random() % 30'000));
    const pid_t supervisor = random() % 2 == 0 ? 0 : job.supervisor();
    kill(supervisor != 0 ? supervisor : job.pid(), SIGKILL);
    ASSERT_EQ(job.survivors(), "") << "round " << round
                                   << (supervisor != 0 ? ", supervisor" : ", front process");
  }
}

TEST(LauncherOrphans, BackgroundJobsOfAShellThatBecameHvdrunAreLeftAlone) {
  LauncherJobOptions options;
  options.wrapper = {"bash", "-c", "sleep 1000 > /dev/null 2>&1 & echo stranger $! >&2; exec \"$0\" \"$@\""};
  LauncherJob job({"-np", "2", "true"}, options);
  EXPECT_EQ(job.finish(), 0) << job.both();
  ASSERT_TRUE(job.err().starts_with("stranger ")) << job.both();
  EXPECT_EQ(state_of(std::stoi(job.err().substr(9))), 'S');
}

}  // namespace
}  // namespace hvd
