// How ranks are started, and what is refused.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "horovod_cpp/base/text.h"
#include "tests/process/launcher_job.h"

namespace hvd {
namespace {

std::string after(const std::string& text, const std::string& words) {
  const std::size_t at = text.find(words);
  return at == text.npos ? "(no " + words + ")"
                         : text.substr(at + words.size(), text.find('\n', at) - at - words.size());
}

TEST(LauncherStart, TellsRanksWhoTheyAre) {
  const std::string script =
      "echo v $HVD_RANK $HVD_SIZE $HVD_LOCAL_RANK $HVD_LOCAL_SIZE $HVD_CROSS_RANK $HVD_CROSS_SIZE "
      "$HOROVOD_RANK $HOROVOD_SIZE $HVD_START_TIMEOUT; echo r=$HVD_RENDEZVOUS; echo k=$(cat "
      "/proc/self/fd/$HVD_JOB_KEY_FD)";
  LauncherJob job({"-np", "3", "--start-timeout", "77", "sh", "-c", script});
  ASSERT_EQ(job.finish(), 0) << job.both();
  for (const int rank : {0, 1, 2}) {
    EXPECT_NE(job.out().find(text("[", rank, "] v ", rank, " 3 ", rank, " 3 0 1 ", rank, " 3 77\n")),
              std::string::npos)
        << job.out();
  }
  std::set<std::string> places, keys;
  for (const auto& line : lines_of(job.out())) {
    if (line.find(" r=") == 3) places.insert(line.substr(6));
    if (line.find(" k=") == 3) keys.insert(line.substr(6));
  }
  ASSERT_EQ(places.size(), 1U) << job.out();
  EXPECT_TRUE(places.begin()->starts_with("127.0.0.1:")) << job.out();
  ASSERT_EQ(keys.size(), 1U) << job.out();
  EXPECT_EQ(keys.begin()->size(), 32U);
}

TEST(LauncherStart, GivesEveryJobAKeyOfItsOwn) {
  const std::vector<std::string> show{"-np", "1", "sh", "-c", "cat /proc/self/fd/$HVD_JOB_KEY_FD"};
  LauncherJob one(show), two(show);
  ASSERT_EQ(one.finish(), 0);
  ASSERT_EQ(two.finish(), 0);
  EXPECT_EQ(one.out().size(), 32U) << one.both();
  EXPECT_NE(one.out(), two.out());
}

TEST(LauncherStart, ShowsTheKeyToNobodyButWhoInheritsIt) {
  // What everybody may read of a rank, of a shell around it and of what it starts, beside the key itself.
  LauncherJob job(
      {"-np", "2", "env", "A=b", "bash", "-c",
       "key=$(cat /proc/self/fd/$HVD_JOB_KEY_FD); [ ${#key} = 32 ] || exit 3; "
       "sleep 60 & child=$!; "
       "for pid in $$ $child $PPID; do "
       "  if tr '\\0' '\\n' < /proc/$pid/environ | grep -qF $key; then echo in environment of $pid; fi; "
       "  if tr '\\0' '\\n' < /proc/$pid/cmdline | grep -qF $key; then echo on command line of $pid; fi; "
       "done; kill $child; echo looked"});
  ASSERT_EQ(job.finish(), 0) << job.both();
  EXPECT_EQ(job.out().find("environment of"), std::string::npos) << job.out();
  EXPECT_EQ(job.out().find("command line of"), std::string::npos) << job.out();
  EXPECT_NE(job.out().find("looked"), std::string::npos) << job.out();
}

class LauncherBinding : public testing::Test {
 protected:
  void SetUp() override {
    cpu_set_t set;
    ASSERT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) allowed_.push_back(cpu);
    }
  }
  static constexpr const char* kShow =
      "echo \"cpus=$(sed -n 's/^Cpus_allowed_list:.//p' /proc/self/status)\"; echo \"omp=$OMP_NUM_THREADS\"";
  std::vector<int> allowed_;
};

TEST_F(LauncherBinding, GivesRanksSharesOfTheirOwn) {
  if (allowed_.size() < 2) GTEST_SKIP() << "one processor";
  LauncherJob job({"-np", "2", "sh", "-c", kShow});
  ASSERT_EQ(job.finish(), 0) << job.both();
  const std::string first = after(job.out(), "[0] cpus="), second = after(job.out(), "[1] cpus=");
  EXPECT_NE(first, second);
  if (allowed_.size() == 2) {
    EXPECT_EQ(first, std::to_string(allowed_[0]));
    EXPECT_EQ(second, std::to_string(allowed_[1]));
  }
  EXPECT_EQ(after(job.out(), "[0] omp="), std::to_string(allowed_.size() / 2));
}

TEST_F(LauncherBinding, RespectsTheUsersOwn) {
  const std::string cpu = std::to_string(allowed_.back());
  LauncherJobOptions options;
  options.wrapper = {"taskset", "-c", cpu};
  options.environment = {{"OMP_NUM_THREADS", "5"}};
  for (const char* ranks : {"1", "2"}) {
    LauncherJob job({"-np", ranks, "--prefix-output-with-timestamp", "sh", "-c", kShow}, options);
    ASSERT_EQ(job.finish(), 0) << job.both();
    EXPECT_EQ(after(job.out(), "cpus="), cpu);
    EXPECT_EQ(after(job.out(), "omp="), "5");
  }
}

TEST_F(LauncherBinding, ShareTheOnlyCoreThatTheyMayHave) {
  const std::string cpu = std::to_string(allowed_.back());
  LauncherJobOptions options;
  options.wrapper = {"taskset", "-c", cpu, "env", "-u", "OMP_NUM_THREADS"};
  LauncherJob job({"-np", "2", "sh", "-c", kShow}, options);
  ASSERT_EQ(job.finish(), 0) << job.both();
  for (const std::string rank : {"[0] ", "[1] "}) {
    EXPECT_EQ(after(job.out(), rank + "cpus="), cpu) << job.out();
    EXPECT_EQ(after(job.out(), rank + "omp="), "1") << job.out();
  }
  EXPECT_EQ(job.err(), "");
}

TEST_F(LauncherBinding, CanBeLeftOutAndIsWhenRanksOutnumberProcessors) {
  LauncherJob plain({"-np", "1", "--no-bind", "sh", "-c", kShow});
  ASSERT_EQ(plain.finish(), 0);
  const std::string all = after(plain.out(), "cpus=");
  LauncherJob unbound({"-np", "2", "--no-bind", "sh", "-c", kShow});
  LauncherJob many({"-np", std::to_string(allowed_.size() + 1), "sh", "-c", kShow});
  ASSERT_EQ(unbound.finish(), 0);
  ASSERT_EQ(many.finish(), 0);
  EXPECT_EQ(after(unbound.out(), "[1] cpus="), all);
  EXPECT_EQ(after(many.out(), "[1] cpus="), all);
  EXPECT_EQ(after(many.out(), "[1] omp="), "1");
}

TEST(LauncherStart, StartsManyRanks) {
  LauncherJob job({"-np", "64", "sh", "-c", "echo $HVD_RANK of $HVD_SIZE"});
  ASSERT_EQ(job.finish(), 0) << job.both();
  for (int rank = 0; rank < 64; ++rank) {
    EXPECT_NE(job.out().find(text("[", rank, "] ", rank, " of 64\n")), std::string::npos) << rank;
  }
}

TEST(LauncherStart, GivesRanksBackTheSignalsAndLimitsOfTheCaller) {
  LauncherJob job({"-np", "1", "sh", "-c", "ulimit -n; grep -E '^Sig(Blk|Ign)' /proc/self/status"});
  LauncherJobOptions options;
  options.wrapper = {"sh", "-c", "ulimit -Sn 256; exec \"$0\" \"$@\""};
  LauncherJob limited({"-np", "1", "sh", "-c", "ulimit -n"}, options);
  ASSERT_EQ(job.finish(), 0);
  ASSERT_EQ(limited.finish(), 0);
  EXPECT_EQ(after(job.out(), "SigBlk:\t"), "0000000000000000");
  EXPECT_EQ(after(job.out(), "SigIgn:\t"), "0000000000000000");
  EXPECT_EQ(limited.out(), "256\n");
}

TEST(LauncherStart, LeaksNoDescriptorIntoRanks) {
  LauncherJobOptions options;
  // What this test's own caller has left open is not hvdrun's.
  options.wrapper = {"bash", "-c",
                     "for fd in /proc/$$/fd/*; do fd=${fd##*/}; test $fd -gt 2 && eval \"exec $fd>&-\"; "
                     "done; exec \"$0\" \"$@\""};
  LauncherJob job({"-np", "3", "ls", "-m", "/proc/self/fd"}, options);
  ASSERT_EQ(job.finish(), 0);
  for (const auto& line : lines_of(job.out()))
    EXPECT_EQ(line.substr(4), "0, 1, 2, 3, 64") << "3 is ls's own, 64 holds the job's key";
}

struct Refusal {
  const char* name;
  std::vector<std::string> arguments;
  int exit_status;
  const char* words;
};

class LauncherRefusal : public testing::TestWithParam<Refusal> {};

TEST_P(LauncherRefusal, IsOneClearLine) {
  LauncherJob job(GetParam().arguments);
  EXPECT_EQ(job.finish(), GetParam().exit_status) << job.both();
  const auto lines = lines_of(job.err());
  ASSERT_EQ(lines.size(), 1U) << job.both();
  EXPECT_TRUE(lines[0].starts_with("hvdrun: ")) << lines[0];
  EXPECT_NE(lines[0].find(GetParam().words), std::string::npos) << lines[0];
  EXPECT_EQ(job.out(), "");
}

INSTANTIATE_TEST_SUITE_P(
    All, LauncherRefusal,
    testing::Values(
        Refusal{"NoRanks", {"-np", "0", "true"}, 2, "-np 0"},
        Refusal{"NoNumber", {"-np", "x", "true"}, 2, "-np x"},
        Refusal{"FewerThanNone", {"-np", "-1", "true"}, 2, "-np -1: the number of ranks is a whole number"},
        Refusal{"HalfARank", {"-np", "2.5", "true"}, 2, "-np 2.5: the number of ranks is a whole number"},
        Refusal{"NumberAndMore", {"-np", "3x", "true"}, 2, "-np 3x: the number of ranks is a whole number"},
        Refusal{"UnresolvedHost",
                {"-np", "1", "-H", "nohost.invalid", "true"},
                2,
                "nohost.invalid is another host"},
        Refusal{"FewestAboveAll",
                {"-np", "2", "--min-np", "3", "true"},
                2,
                "--min-np 3: expected a whole number from 1 to 2"},
        Refusal{"PatienceInWords",
                {"-np", "2", "--elastic-timeout", "soon", "true"},
                2,
                "--elastic-timeout soon: expected a number of seconds"},
        Refusal{"NoFolderForOutput",
                {"-np", "2", "--output-filename", "/dev/null/x", "true"},
                2,
                "--output-filename: "},
        Refusal{"NoProgram", {"-np", "2"}, 2, "program is missing"},
        Refusal{"NoOption", {"-np", "2", "--verbos", "true"}, 2, "--verbose"},
        Refusal{"RemoteHost", {"-np", "2", "-H", "node1:2", "true"}, 2, "mpirun"},
        Refusal{"NotFound", {"-np", "2", "hvd-no-such-program"}, 127, "no such program"},
        Refusal{"NotThere", {"-np", "2", "/no/such/program"}, 127, "no such program"},
        Refusal{"NotExecutable", {"-np", "2", "/etc/passwd"}, 126, "not executable"},
        Refusal{"Folder", {"-np", "2", "/tmp"}, 126, "directory"}),
    [](const auto& info) { return info.param.name; });

TEST(LauncherStart, ReadsAHostfile) {
  char folder[] = "/tmp/hvd_hostfile.XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string file = text(folder, "/hosts");
  std::ofstream(file) << "localhost slots=2\n";
  LauncherJob enough({"-np", "2", "--hostfile", file, "--autotune", "true"});
  EXPECT_EQ(enough.finish(), 0) << enough.both();
  EXPECT_NE(enough.both().find("hvdrun: --autotune has no effect: "), std::string::npos) << enough.both();
  LauncherJob many({"-np", "3", "--hostfile", file, "true"});
  EXPECT_EQ(many.finish(), 2);
  EXPECT_NE(many.both().find("--hostfile has only 2 slots"), std::string::npos) << many.both();
  LauncherJob missing({"-np", "3", "--hostfile", file + ".no", "true"});
  EXPECT_EQ(missing.finish(), 2);
  EXPECT_NE(missing.both().find("the file cannot be read"), std::string::npos) << missing.both();
  std::filesystem::remove_all(folder);
}

TEST(LauncherStart, ExplainsScriptsThatCannotRun) {
  char name[] = "/tmp/hvdrun-test-script-XXXXXX";
  const int fd = mkstemp(name);
  ASSERT_GE(fd, 0);
  close(fd);
  for (const auto& [content, words] :
       {std::pair{"echo hello\n", "#! line"}, {"#!/no/such/interpreter\n", "interpreter"}}) {
    std::ofstream(name, std::ios::trunc) << content;
    chmod(name, 0755);
    LauncherJob job({"-np", "3", name});
    EXPECT_EQ(job.finish(), 126) << job.both();
    const auto lines = lines_of(job.err());
    ASSERT_EQ(lines.size(), 1U) << job.both();
    EXPECT_NE(lines[0].find(words), std::string::npos) << lines[0];
    EXPECT_EQ(job.survivors(), "");
  }
  unlink(name);
}

// Said before the first rank is started.
TEST(LauncherStart, SaysWhichLimitForbidsSoManyRanksAndStartsNone) {
  const auto refusal = [](const std::string& limit, const char* ranks) {
    LauncherJobOptions options;
    options.wrapper = {"sh", "-c", limit + "; exec \"$0\" \"$@\""};
    LauncherJob job({"-np", ranks, "sh", "-c", "echo started; sleep 1000"}, options);
    EXPECT_EQ(job.finish(), 2) << job.both();
    EXPECT_EQ(lines_of(job.err()).size(), 1U) << job.both();
    EXPECT_EQ(job.out(), "");
    EXPECT_EQ(job.survivors(), "");
    return job.err();
  };
  const std::string files = refusal("ulimit -n 100", "64");
  EXPECT_NE(files.find("-np 64: hvdrun needs "), std::string::npos) << files;
  EXPECT_NE(files.find(" and may have 100: enough for "), std::string::npos) << files;
  EXPECT_NE(files.find("Raise the limit (ulimit -Hn and ulimit -n)"), std::string::npos) << files;
  const std::string many = refusal("ulimit -n 4096", "1000000");
  EXPECT_NE(many.find("-np 1000000: hvdrun needs "), std::string::npos) << many;
}

// As many as the message says, no more.
TEST(LauncherStart, BearsAsManyRanksAsItSays) {
  LauncherJobOptions options;
  options.wrapper = {"sh", "-c", "ulimit -n 64; exec \"$0\" \"$@\""};
  LauncherJob tries({"-np", "1000", "true"}, options);
  ASSERT_EQ(tries.finish(), 2) << tries.both();
  const std::string enough = std::to_string(std::atoi(after(tries.err(), "enough for ").c_str()));
  LauncherJob job({"-np", enough, "sh", "-c", "sleep 1; echo $HVD_RANK"}, options);
  EXPECT_EQ(job.finish(), 0) << job.both();
  EXPECT_EQ(lines_of(job.out()).size(), std::stoul(enough)) << job.both();
}

}  // namespace
}  // namespace hvd
