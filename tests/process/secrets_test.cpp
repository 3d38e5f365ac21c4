// Where the job's key must not be: in what other users can read of processes, and in what a job says.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <vector>

#include "horovod_cpp/base/text.h"
#include "tests/harness/leftovers.h"
#include "tests/process/training_job.h"

namespace hvd {
namespace {

// Hexadecimal and base64, of the key as text and as the bytes that its digits stand for.
std::vector<std::string> spellings(const std::string& key) {
  std::string raw;
  for (std::size_t i = 0; i + 1 < key.size(); i += 2)
    raw += static_cast<char>(std::stoi(key.substr(i, 2), nullptr, 16));
  std::vector<std::string> out{key, raw};
  for (const std::string& bytes : {key, raw}) {
    std::string upper, lower;
    for (const char c : bytes) {
      std::array<char, 3> digits{};
      std::snprintf(digits.data(), digits.size(), "%02x", static_cast<unsigned char>(c));
      lower += digits.data();
      std::snprintf(digits.data(), digits.size(), "%02X", static_cast<unsigned char>(c));
      upper += digits.data();
    }
    out.insert(out.end(), {lower, upper});
    // Without the end, where padding is.
    std::string base64(bytes.size() * 2, '\0');
    base64.resize(static_cast<std::size_t>(::EVP_EncodeBlock(
        reinterpret_cast<unsigned char*>(base64.data()), reinterpret_cast<const unsigned char*>(bytes.data()),
        static_cast<int>(bytes.size()))));
    out.push_back(base64.substr(0, bytes.size() / 3 * 4));
  }
  return out;
}

bool tells(const std::string& text, const std::string& key) {
  const auto all = spellings(key);
  return std::any_of(all.begin(), all.end(),
                     [&](const std::string& spelling) { return text.find(spelling) != std::string::npos; });
}

// Whether a process of another user can open the file.
bool another_user_can_open(const std::string& file) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::syscall(SYS_setresuid, 65534, 65534, 65534) != 0) ::_exit(2);
    ::_exit(::open(file.c_str(), O_RDONLY) >= 0 ? 1 : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

TEST_F(TrainingJob, TellsItsKeyToNobody) {
  EXPECT_TRUE(tells("x 30313233343536373839414243444546 y", "0123456789ABCDEF"));
  EXPECT_TRUE(tells("x MDEyMzQ1Njc4OUFCQ0RF y", "0123456789ABCDEF"));
  EXPECT_FALSE(tells("x 0123456789ABCDEE y", "0123456789ABCDEF"));

  mark(folder() + "/go");
  ProcessOptions talkative = options(0);
  talkative.environment.emplace_back("HVD_LOG_LEVEL", "trace");
  talkative.launcher_arguments = {"--verbose", "--timeline-filename", folder() + "/timeline"};
  ProcessJob job(kTrainingRanks, "train", talkative);
  ASSERT_TRUE(comes([this] { return all_train(); }));
  std::string key;
  for (int rank = 0; rank < kTrainingRanks; ++rank) {
    const pid_t pid = job.rank_pid(rank).value();
    const std::string process = text("/proc/", pid);
    key = key_of(pid);
    ASSERT_GE(key.size(), 32U);
    ASSERT_FALSE(variable_of(pid, "HVD_RENDEZVOUS").empty());
    EXPECT_FALSE(tells(content_of(process + "/environ"), key));
    EXPECT_FALSE(tells(content_of(process + "/cmdline"), key));
    if (::geteuid() != 0) continue;
    EXPECT_FALSE(another_user_can_open(text(process, "/fd/", variable_of(pid, "HVD_JOB_KEY_FD"))));
  }
  for (const pid_t pid :
       processes_with(kJobFolderVariable, variable_of(job.rank_pid(0).value(), kJobFolderVariable))) {
    EXPECT_FALSE(tells(content_of(text("/proc/", pid, "/environ")), key));
    EXPECT_FALSE(tells(content_of(text("/proc/", pid, "/cmdline")), key));
  }
  mark(folder() + "/stop");
  const ProcessResult result = job.finish();
  ASSERT_TRUE(result.is_clean()) << result.describe();
  EXPECT_FALSE(tells(result.out + result.err, key));
  EXPECT_FALSE(tells(content_of(folder() + "/timeline"), key));
  EXPECT_FALSE(content_of(folder() + "/timeline").empty());
}

}  // namespace
}  // namespace hvd
