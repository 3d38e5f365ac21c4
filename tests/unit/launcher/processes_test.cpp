#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "launcher/descendants.h"
#include "launcher/job.h"
#include "launcher/output_files.h"
#include "launcher/program_lookup.h"
#include "tests/harness/temp_folder.h"

namespace hvd::launcher {
namespace {

TEST(Descendants, ReadsNamesWithBlanksAndParentheses) {
  const auto process = parse_process_stat(
      "42 (a) b (c)) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 10 18446744073709551615 1 "
      "1");
  ASSERT_TRUE(process.has_value());
  EXPECT_EQ(process->pid, 42);
  EXPECT_EQ(process->parent, 7);
  EXPECT_EQ(process->state, 'S');
  EXPECT_EQ(process->start_time, 987654U);
  EXPECT_FALSE(parse_process_stat("").has_value());
  EXPECT_FALSE(parse_process_stat("42 (x").has_value());
  EXPECT_FALSE(parse_process_stat("42 (x) S 7").has_value());
}

TEST(Descendants, FindsThisProcess) {
  const auto all = list_processes();
  const auto self =
      std::find_if(all.begin(), all.end(), [](const ProcessEntry& entry) { return entry.pid == getpid(); });
  ASSERT_NE(self, all.end());
  EXPECT_EQ(self->parent, getppid());
}

TEST(Descendants, FollowsParentsButNotStrangers) {
  const std::vector<ProcessEntry> all{{10, 1, 'S', 1}, {11, 10, 'S', 2}, {12, 11, 'S', 3}, {13, 10, 'Z', 4},
                                      {14, 1, 'S', 5}, {15, 10, 'S', 6}, {16, 15, 'S', 7}};
  const auto pids = [&](const std::vector<ProcessEntry>& excluded) {
    std::vector<pid_t> found;
    for (const auto& entry : descendants_of(10, all, excluded)) found.push_back(entry.pid);
    std::sort(found.begin(), found.end());
    return found;
  };
  EXPECT_EQ(pids({}), (std::vector<pid_t>{11, 12, 15, 16}));
  EXPECT_EQ(pids({{15, 10, 'S', 6}}), (std::vector<pid_t>{11, 12}));
  EXPECT_EQ(pids({{15, 10, 'S', 99}}), (std::vector<pid_t>{11, 12, 15, 16}))
      << "another process that had the same number";
}

TEST(OutputFiles, PadsRanks) {
  EXPECT_EQ(folder_of_rank(0, 1), "rank.0");
  EXPECT_EQ(folder_of_rank(7, 10), "rank.7");
  EXPECT_EQ(folder_of_rank(7, 11), "rank.07");
  EXPECT_EQ(folder_of_rank(100, 101), "rank.100");
}

class ProgramLookup : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(folder_ + "/bin");
    add("bin/tool", 0755);
    add("bin/plain", 0644);
    add("train.py", 0644);
  }
  void add(const std::string& name, mode_t mode) {
    std::ofstream(folder_ + "/" + name) << "x\n";
    chmod((folder_ + "/" + name).c_str(), mode);
  }
  const TempFolder temporary_;
  const std::string folder_ = temporary_.path();
};

TEST_F(ProgramLookup, SearchesThePath) {
  EXPECT_EQ(find_program("tool", "/nowhere:" + folder_ + "/bin").path, folder_ + "/bin/tool");
  EXPECT_EQ(find_program("tool", "/nowhere").exit_status, kExitNotFound);
  EXPECT_EQ(find_program("bin", folder_).exit_status, kExitNotFound) << "a folder is no program";
}

TEST_F(ProgramLookup, SaysWhyNot) {
  EXPECT_EQ(find_program(folder_ + "/none", "").exit_status, kExitNotFound);
  EXPECT_EQ(find_program(folder_ + "/bin", "").exit_status, kExitNotExecutable);
  const auto script = find_program(folder_ + "/train.py", "");
  EXPECT_EQ(script.exit_status, kExitNotExecutable);
  EXPECT_NE(script.message.find("python " + folder_ + "/train.py"), std::string::npos) << script.message;
  EXPECT_NE(find_program("train.py", "/nowhere").message.find("python train.py"), std::string::npos);
  EXPECT_EQ(find_program("plain", folder_ + "/bin").exit_status, kExitNotExecutable);
  EXPECT_NE(explain_exec_failure(folder_ + "/bin/tool", "tool", ENOENT).message.find("interpreter"),
            std::string::npos);
  EXPECT_NE(explain_exec_failure(folder_ + "/bin/tool", "tool", ENOEXEC).message.find("#!"),
            std::string::npos);
}

}  // namespace
}  // namespace hvd::launcher
