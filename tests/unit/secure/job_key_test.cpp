// Where a process finds the job's key, and everything that may be wrong there.
#include "horovod_cpp/secure/job_key.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace hvd {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kNobody = 65534;

class JobKeyFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = fs::temp_directory_path() / "hvd-test-key-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string file(const std::string& content, mode_t mode = 0600) const {
    std::ofstream(path("key"), std::ios::binary | std::ios::trunc) << content;
    EXPECT_EQ(::chmod(path("key").c_str(), mode), 0);
    return path("key");
  }
  static Result<std::string> read(const std::string& file) { return read_job_key({"", file}); }
  // The refusal names the variable and the file, and says `why`.
  static void expect_refused(const std::string& file, const std::string& why) {
    const auto key = read(file);
    ASSERT_FALSE(key.is_ok()) << file;
    EXPECT_EQ(key.status().code(), StatusCode::invalid_argument);
    EXPECT_NE(key.status().message().find("HVD_JOB_KEY_FILE='" + file + "'"), std::string::npos)
        << key.status().message();
    EXPECT_NE(key.status().message().find(why), std::string::npos) << key.status().message();
  }

  std::string folder_;
};

TEST_F(JobKeyFile, HoldsTheKeyAndPerhapsTheEndOfALine) {
  const std::string longest(kMaxJobKeyBytes, 'k');
  for (const std::string& key : {std::string("secret"), longest}) {
    for (const char* end : {"", "\n", "\r\n"}) {
      const auto got = read(file(key + end));
      ASSERT_TRUE(got.is_ok()) << got.status().message();
      EXPECT_EQ(got.value(), key);
    }
  }
  EXPECT_TRUE(read(file("secret", 0400)).is_ok());
}

TEST_F(JobKeyFile, MustNotBeReadableForOthers) {
  for (const mode_t mode : {0640, 0604, 0644, 0660, 0666, 0620, 0601, 0777}) {
    SCOPED_TRACE(mode);
    expect_refused(file("secret", mode), "chmod 600 ");
  }
}

TEST_F(JobKeyFile, MustBelongToThisUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  const std::string name = file("secret");
  ASSERT_EQ(::chown(name.c_str(), kNobody, kNobody), 0);
  expect_refused(name, "belongs to user 65534");
}

TEST_F(JobKeyFile, MustHoldAKey) {
  expect_refused(file(""), "is empty");
  expect_refused(file("\n\r\n"), "is empty");
  expect_refused(file(std::string(kMaxJobKeyBytes + 1, 'k')), "more than 128 bytes");
  expect_refused(file(std::string(1 << 20, 'k')), "more than 128 bytes");
}

TEST_F(JobKeyFile, MustBeAFile) {
  expect_refused(path("no such"), "cannot be opened");
  expect_refused(folder_, "is not a plain file");
  expect_refused("/dev/zero", "is not a plain file");
  const sockaddr_un address = [this] {
    sockaddr_un out{};
    out.sun_family = AF_UNIX;
    path("socket").copy(out.sun_path, sizeof(out.sun_path) - 1);
    return out;
  }();
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  expect_refused(path("socket"), "cannot be opened");
}

// Whoever opens one for reading in the usual way waits for a writer.
TEST_F(JobKeyFile, APipeIsRefusedAndNotWaitedFor) {
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  expect_refused(path("pipe"), "is not a plain file");
}

class JobKeyDescriptor : public ::testing::Test {
 protected:
  static Result<std::string> read(const std::string& number) { return read_job_key({number, ""}); }
  static Result<std::string> read(const UniqueFd& fd) { return read(std::to_string(fd.get())); }
  static void expect_refused(const std::string& number, const std::string& why) {
    const auto key = read(number);
    ASSERT_FALSE(key.is_ok()) << number;
    EXPECT_EQ(key.status().code(), StatusCode::invalid_argument);
    EXPECT_NE(key.status().message().find("HVD_JOB_KEY_FD='" + number + "'"), std::string::npos)
        << key.status().message();
    EXPECT_NE(key.status().message().find(why), std::string::npos) << key.status().message();
  }
};

TEST_F(JobKeyDescriptor, IsReadAgainAndAgainAndNotInheritedAnyMore) {
  const auto shared = share_job_key("secret");
  ASSERT_TRUE(shared.is_ok()) << shared.status().message();
  const int fd = shared.value().get();
  ASSERT_EQ(::fcntl(fd, F_SETFD, 0), 0);  // as in a process that has inherited it
  for (int i = 0; i < 2; ++i) {
    const auto key = read(shared.value());
    ASSERT_TRUE(key.is_ok()) << key.status().message();
    EXPECT_EQ(key.value(), "secret");
    EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  }
}

TEST_F(JobKeyDescriptor, NobodyCanChangeWhatAllInherit) {
  const auto shared = share_job_key("secret");
  ASSERT_TRUE(shared.is_ok());
  EXPECT_LT(::pwrite(shared.value().get(), "x", 1, 0), 0);
  EXPECT_NE(::ftruncate(shared.value().get(), 0), 0);
  EXPECT_EQ(::mmap(nullptr, 1, PROT_READ | PROT_WRITE, MAP_SHARED, shared.value().get(), 0), MAP_FAILED);
}

TEST_F(JobKeyDescriptor, MustBeANumber) {
  for (const char* number : {"-1", "six", "6x", " 6", "6 ", "99999999999999999999", "0x40"})
    expect_refused(number, "expected the number of a descriptor");
}

// A wrapper has closed it, and the number may belong to something else by now: that is left as it is.
TEST_F(JobKeyDescriptor, MustBeOurs) {
  expect_refused("999999", "did not inherit the job's key");
  int pipe[2] = {-1, -1};
  ASSERT_EQ(::pipe2(pipe, 0), 0);
  const UniqueFd reader(pipe[0]), writer(pipe[1]);
  const UniqueFd unsealed(::memfd_create("unsealed", MFD_ALLOW_SEALING));
  const UniqueFd file(::open("/proc/self/exe", O_RDONLY));
  for (const UniqueFd* fd : {&reader, &unsealed, &file}) {
    ASSERT_TRUE(fd->is_open());
    expect_refused(std::to_string(fd->get()), "did not inherit the job's key");
    EXPECT_EQ(::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC, 0) << "somebody else's descriptor was changed";
  }
}

TEST_F(JobKeyDescriptor, MustHoldAKey) {
  for (const auto& [content, why] : {std::pair{std::string(), "is empty"},
                                     {std::string(kMaxJobKeyBytes + 1, 'k'), "more than 128 bytes"}}) {
    const auto shared = share_job_key(content);
    ASSERT_TRUE(shared.is_ok());
    expect_refused(std::to_string(shared.value().get()), why);
  }
}

TEST_F(JobKeyDescriptor, ComesBeforeAFile) {
  EXPECT_NE(read_job_key({"six", "/no such"}).status().message().find("HVD_JOB_KEY_FD"), std::string::npos);
  const auto none = read_job_key({});
  EXPECT_EQ(none.status().code(), StatusCode::invalid_argument);
  EXPECT_NE(none.status().message().find("hvdrun"), std::string::npos) << none.status().message();
}

}  // namespace
}  // namespace hvd
