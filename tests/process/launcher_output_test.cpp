// What ranks write, and what they read.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>

#include "tests/harness/temp_folder.h"
#include "tests/process/launcher_job.h"

namespace hvd {
namespace {

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(LauncherOutput, KeepsLinesWholeUnderHeavyInterleaving) {
  LauncherJobOptions options;
  options.merge_outputs = true;
  const std::string script =
      "awk -v r=$HVD_RANK 'BEGIN { for (i = 0; i < 10000; i++) { printf \"o %d %d abcdefghij\", r, i; "
      "if (i % 97 == 0) fflush(); printf \"klmnopqrstuvwxyz\\n\" } }' & "
      "awk -v r=$HVD_RANK 'BEGIN { for (i = 0; i < 10000; i++) print \"e\", r, i, "
      "\"abcdefghijklmnopqrstuvwxyz\" }' >&2; wait";
  LauncherJob job({"-np", "2", "bash", "-c", script}, options);
  ASSERT_EQ(job.finish(), 0);
  const std::regex pattern(R"(\[([01])\] ([oe]) ([01]) (\d+) abcdefghijklmnopqrstuvwxyz)");
  int next[2][2] = {};
  for (const auto& line : lines_of(job.out())) {
    std::smatch match;
    ASSERT_TRUE(std::regex_match(line, match, pattern)) << "not whole: " << line;
    ASSERT_EQ(match[1], match[3]) << line;
    int& expected = next[match[1] == "1"][match[2] == "e"];
    ASSERT_EQ(std::stoi(match[4]), expected) << line;
    ++expected;
  }
  for (const auto& counts : next) {
    EXPECT_EQ(counts[0], 10000);
    EXPECT_EQ(counts[1], 10000);
  }
}

TEST(LauncherOutput, KeepsStreamsApart) {
  LauncherJob job({"-np", "2", "sh", "-c", "echo out; echo err >&2; printf last"});
  ASSERT_EQ(job.finish(), 0);
  auto out = lines_of(job.out()), err = lines_of(job.err());
  std::sort(out.begin(), out.end());
  std::sort(err.begin(), err.end());
  EXPECT_EQ(out, (std::vector<std::string>{"[0] last", "[0] out", "[1] last", "[1] out"}));
  EXPECT_EQ(err, (std::vector<std::string>{"[0] err", "[1] err"}));
}

TEST(LauncherOutput, OfOneRankIsUnchanged) {
  LauncherJob job({"-np", "1", "printf", R"(a\r\0b\n\nno end)"});
  ASSERT_EQ(job.finish(), 0);
  EXPECT_EQ(job.out(), std::string("a\r\0b\n\nno end", 12));
}

TEST(LauncherOutput, PrefixCanBeLeftOutOrCarryTheTime) {
  LauncherJob without({"-np", "2", "--no-prefix", "echo", "x"});
  ASSERT_EQ(without.finish(), 0);
  EXPECT_EQ(without.out(), "x\nx\n");
  LauncherJob with({"-np", "2", "--prefix-output-with-timestamp", "echo", "x"});
  ASSERT_EQ(with.finish(), 0);
  for (const auto& line : lines_of(with.out())) {
    EXPECT_TRUE(std::regex_match(line, std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} \[[01]\] x)")))
        << line;
  }
}

TEST(LauncherOutput, GoesToFilesToo) {
  const TempFolder temporary;
  const std::string folder = temporary.path();
  LauncherJob job({"-np", "2", "--output-filename", folder + "/a/b", "sh", "-c",
                   "echo out $HVD_RANK; echo err $HVD_RANK >&2"});
  ASSERT_EQ(job.finish(), 0) << job.both();
  EXPECT_NE(job.out().find("[1] out 1\n"), std::string::npos) << job.both();
  EXPECT_EQ(content(folder + "/a/b/rank.0/stdout"), "out 0\n");
  EXPECT_EQ(content(folder + "/a/b/rank.1/stdout"), "out 1\n");
  EXPECT_EQ(content(folder + "/a/b/rank.1/stderr"), "err 1\n");
}

TEST(LauncherOutput, ThatCannotBeWrittenToFilesIsRefused) {
  LauncherJob job({"-np", "2", "--output-filename", "/dev/null/x", "echo"});
  EXPECT_EQ(job.finish(), 2);
  EXPECT_EQ(lines_of(job.err()).size(), 1U) << job.both();
}

TEST(LauncherOutput, BeyondTheLimitOfFilesIsDroppedThereAndSaid) {
  const TempFolder temporary;
  const std::string folder = temporary.path();
  LauncherJobOptions options;
  options.wrapper = {"sh", "-c", "ulimit -f 8; exec \"$0\" \"$@\""};
  LauncherJob job({"-np", "1", "--output-filename", folder, "sh", "-c", "yes | head -n 50000; echo done"},
                  options);
  EXPECT_EQ(job.finish(), 0) << job.err();
  EXPECT_NE(job.out().find("done\n"), std::string::npos);
  EXPECT_NE(job.both().find("hvdrun: the output file of rank 0 cannot be written: File too large"),
            std::string::npos)
      << job.err();
}

// Nobody reads for a while: the ranks wait, hvdrun does not swallow their output.
TEST(LauncherOutput, OfASlowReaderHoldsTheRanksBack) {
  LauncherJob job({"-np", "2", "sh", "-c", "yes abcdefghijklmnopqrstuvwxyz | head -n 1000000; echo done"});
  pid_t supervisor = 0;
  for (int i = 0; i < 1000 && (supervisor = job.supervisor()) == 0; ++i) usleep(10'000);
  ASSERT_NE(supervisor, 0);
  usleep(1'000'000);
  // Sanitizers (clang here) need more memory of their own.
#ifndef HVD_TEST_IS_SANITIZED
  const std::string status = content("/proc/" + std::to_string(supervisor) + "/status");
  std::smatch match;
  ASSERT_TRUE(std::regex_search(status, match, std::regex(R"(VmRSS:\s+(\d+) kB)"))) << status;
  EXPECT_LT(std::stoi(match[1]), 20'000) << "54 MB were written to hvdrun";
#endif
  EXPECT_GE(job.processes().size(), 4U) << "the ranks wait";
  ASSERT_EQ(job.finish(), 0);
  EXPECT_EQ(std::count(job.out().begin(), job.out().end(), '\n'), 2'000'002);
}

TEST(LauncherOutput, ThatNobodyReadsAnyMoreEndsTheRanksAsAPipeWould) {
  LauncherJob job({"-np", "2", "yes"});
  ASSERT_TRUE(job.wait_for("[0] y"));
  job.close_stdout();
  EXPECT_EQ(job.finish(), 128 + SIGPIPE) << job.err();
  EXPECT_EQ(job.survivors(), "");
}

double cpu_seconds_of_ended_jobs() {
  rusage usage{};
  getrusage(RUSAGE_CHILDREN, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Its end is a POLLHUP without POLLERR.
TEST(LauncherOutput, ToASocketThatIsClosedCostsNothing) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  LauncherJobOptions options;
  options.stdout_fd = ends[1];
  const double before = cpu_seconds_of_ended_jobs();
  LauncherJob job({"-np", "2", "sh", "-c", "echo x; sleep 3"}, options);
  close(ends[1]);
  char lines[12];  // "[0] x" and "[1] x"
  EXPECT_EQ(recv(ends[0], lines, sizeof lines, MSG_WAITALL), 12);
  close(ends[0]);
  EXPECT_EQ(job.finish(), 0) << job.err();
  EXPECT_LT(cpu_seconds_of_ended_jobs() - before, 1.5);
}

TEST(LauncherOutput, ToAFullDiskIsDroppedAndSaid) {
  const UniqueFd full(open("/dev/full", O_WRONLY | O_CLOEXEC));
  LauncherJobOptions options;
  options.stdout_fd = full.get();
  LauncherJob job({"-np", "2", "sh", "-c", "for i in 1 2 3; do echo x; sleep 0.1; done; echo err >&2"},
                  options);
  EXPECT_EQ(job.finish(), 0) << job.err();
  auto err = lines_of(job.err());
  std::sort(err.begin(), err.end());
  EXPECT_EQ(err, (std::vector<std::string>{
                     "[0] err", "[1] err",
                     "hvdrun: the standard output cannot be written: No space left on device"}));
}

TEST(LauncherOutput, CanBeAClosedDescriptor) {
  LauncherJobOptions options;
  options.wrapper = {"sh", "-c", "exec \"$0\" \"$@\" <&- >&- 2>&-"};
  LauncherJob job({"-np", "2", "sh", "-c", "echo x; cat; exit 3"}, options);
  EXPECT_EQ(job.finish(), 3);
}

class Terminal {
 public:
  Terminal() { opened_ = openpty(&ours_, &theirs_, nullptr, nullptr, nullptr) == 0; }
  ~Terminal() {
    close(ours_);
    if (theirs_ >= 0) close(theirs_);
  }
  bool opened() const { return opened_; }
  int theirs() const { return theirs_; }
  void type(const std::string& keys) const {
    ASSERT_EQ(write(ours_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  std::string read_until(const std::string& words) const {
    std::string seen;
    char bytes[4096];
    while (seen.find(words) == seen.npos) {
      const ssize_t count = read(ours_, bytes, sizeof bytes);
      if (count <= 0) break;
      seen.append(bytes, static_cast<std::size_t>(count));
    }
    return seen;
  }

 private:
  bool opened_ = false;
  int ours_ = -1;
  int theirs_ = -1;
};

LauncherJobOptions on(const Terminal& terminal) {
  LauncherJobOptions options;
  options.stdin_fd = terminal.theirs();
  options.controlling_terminal = terminal.theirs();
  return options;
}

TEST(LauncherOutput, ShowsProgressBarsOnATerminal) {
  const Terminal terminal;
  ASSERT_TRUE(terminal.opened());
  LauncherJobOptions options = on(terminal);
  options.stdout_fd = terminal.theirs();
  options.environment = {{"TERM", "xterm"}};
  LauncherJob job({"-np", "2", "sh", "-c",
                   R"(test $HVD_RANK = 1 || printf '\r 1%%\r 2%%\r'; test $HVD_RANK = 1 || echo done)"},
                  options);
  const std::string seen = terminal.read_until("done");
  EXPECT_NE(seen.find("[0]  1%\r\x1b[K[0]  2%\r\x1b[K[0] done"), std::string::npos) << seen;
  EXPECT_EQ(job.finish(), 0);
}

TEST(LauncherInput, GoesToRankZeroWithItsEnd) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  LauncherJobOptions options;
  options.stdin_fd = ends[0];
  LauncherJob job({"-np", "2", "cat"}, options);
  close(ends[0]);
  ASSERT_EQ(write(ends[1], "one\n", 4), 4);
  ASSERT_TRUE(job.wait_for("[0] one")) << job.both();
  ASSERT_EQ(write(ends[1], "two\n", 4), 4);
  close(ends[1]);
  EXPECT_EQ(job.finish(), 0);
  EXPECT_EQ(job.out(), "[0] one\n[0] two\n") << "rank 1 reads nothing";
}

// `while read line; do hvdrun …; done < list` must see every line.
TEST(LauncherInput, ThatNobodyReadsStaysThere) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  ASSERT_EQ(write(ends[1], "line\n", 5), 5);
  LauncherJobOptions options;
  options.stdin_fd = ends[0];
  LauncherJob job({"-np", "2", "true"}, options);
  EXPECT_EQ(job.finish(), 0);
  char bytes[16];
  EXPECT_EQ(read(ends[0], bytes, sizeof bytes), 5);
  close(ends[0]);
  close(ends[1]);
}

TEST(LauncherInput, FromATerminalGoesToRankZeroWithItsEnd) {
  const Terminal terminal;
  ASSERT_TRUE(terminal.opened());
  LauncherJob job({"-np", "2", "sh", "-c", "echo ready; cat; echo end"}, on(terminal));
  ASSERT_TRUE(job.wait_for("ready", 2)) << job.both();
  terminal.type("typed\n");
  ASSERT_TRUE(job.wait_for("[0] typed")) << job.both();
  EXPECT_EQ(job.out().find("[0] end"), std::string::npos);
  terminal.type("\x04");
  EXPECT_EQ(job.finish(), 0) << job.both();
  EXPECT_NE(job.out().find("[0] end"), std::string::npos);
}

TEST(LauncherInput, ControlCReachesTheRanks) {
  const Terminal terminal;
  ASSERT_TRUE(terminal.opened());
  LauncherJob job(
      {"-np", "2", "sh", "-c", "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.1; done"},
      on(terminal));
  ASSERT_TRUE(job.wait_for("ready", 2)) << job.both();
  terminal.type("\x03");
  EXPECT_EQ(job.finish(), 128 + SIGINT) << job.both();
  EXPECT_NE(job.out().find("[0] caught"), std::string::npos) << job.both();
  EXPECT_NE(job.out().find("[1] caught"), std::string::npos) << job.both();
}

// hvdrun in a background process group of its terminal:
// it must neither stop (SIGTTIN) nor take what is typed.
TEST(LauncherInput, OfABackgroundJobIsLeftToTheShell) {
  const Terminal terminal;
  ASSERT_TRUE(terminal.opened());
  LauncherJobOptions options = on(terminal);
  options.wrapper = {"bash", "-c",
                     "set -m; \"$0\" \"$@\" & read typed; echo shell got $typed; touch $GO; wait $!"};
  const TempFolder temporary;
  const std::string folder = temporary.path();
  options.environment = {{"GO", folder + "/go"}};
  LauncherJob job({"-np", "1", "sh", "-c",
                   "echo ready; while ! test -e $GO; do sleep 0.05; done; sleep 0.5; echo ran on"},
                  options);
  ASSERT_TRUE(job.wait_for("ready")) << job.both();
  terminal.type("hello\n");
  EXPECT_EQ(job.finish(), 0) << job.both();
  EXPECT_NE(job.out().find("shell got hello"), std::string::npos) << job.both();
  EXPECT_NE(job.out().find("ran on"), std::string::npos) << job.both();
}

}  // namespace
}  // namespace hvd
