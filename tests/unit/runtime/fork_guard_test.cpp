// What forked children have of the library's sockets.
#include "bindings/runtime/fork_guard.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>

#include "horovod_cpp/base/unique_fd.h"

namespace hvd {
namespace {

struct SocketPair {
  SocketPair() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
    mine.reset(ends[0]);
    theirs.reset(ends[1]);
  }
  // Within a minute.
  bool theirs_ends() const {
    pollfd entry{theirs.get(), POLLIN, 0};
    char byte = 0;
    return ::poll(&entry, 1, 60'000) == 1 && ::read(theirs.get(), &byte, 1) == 0;
  }
  UniqueFd mine;
  UniqueFd theirs;
};

bool is_null_device(int fd) {
  struct stat file{};
  return ::fstat(fd, &file) == 0 && S_ISCHR(file.st_mode) && file.st_rdev == makedev(1, 3);
}

// What `look` returns in a forked child.
bool in_child(const std::function<bool()>& look) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(look() ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// A child that does nothing, for as long as this lives.
class SleepingChild {
 public:
  SleepingChild() : pid_(::fork()) {
    while (pid_ == 0) ::pause();
  }
  ~SleepingChild() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  SleepingChild(const SleepingChild&) = delete;
  SleepingChild& operator=(const SleepingChild&) = delete;

 private:
  pid_t pid_;
};

TEST(ForkGuard, AConnectionEndsThoughAChildLives) {
  SocketPair pair;
  const int socket = pair.mine.get();
  const auto guard = keep_from_children({&socket, 1});
  ASSERT_TRUE(guard.is_ok()) << guard.status().message();
  // The other end is this test's own: no child may have it.
  const int other = pair.theirs.get();
  const auto other_guard = keep_from_children({&other, 1});
  ASSERT_TRUE(other_guard.is_ok());
  const SleepingChild child;
  pair.mine.reset();
  EXPECT_TRUE(pair.theirs_ends());
}

TEST(ForkGuard, TheNumberStaysTakenInTheChild) {
  const SocketPair pair;
  const int socket = pair.mine.get();
  const auto guard = keep_from_children({&socket, 1});
  ASSERT_TRUE(guard.is_ok());
  EXPECT_TRUE(in_child([&] {
    return is_null_device(socket) && ::fcntl(socket, F_GETFD) == FD_CLOEXEC &&
           !is_null_device(pair.theirs.get());
  }));
  EXPECT_FALSE(is_null_device(socket));
}

TEST(ForkGuard, AnotherFileUnderTheNumberIsLeftAlone) {
  SocketPair pair;
  const int socket = pair.mine.get();
  const auto guard = keep_from_children({&socket, 1});
  ASSERT_TRUE(guard.is_ok());
  const SocketPair other;
  ASSERT_EQ(::dup2(other.mine.get(), socket), socket);
  EXPECT_TRUE(in_child([&] { return !is_null_device(socket); }));
}

TEST(ForkGuard, NothingIsTakenOnceItIsGone) {
  const SocketPair pair;
  const int socket = pair.mine.get();
  {
    const auto guard = keep_from_children({&socket, 1});
    ASSERT_TRUE(guard.is_ok());
  }
  EXPECT_TRUE(in_child([&] { return !is_null_device(socket); }));
}

TEST(ForkGuard, ChildrenOfChildrenAndSeveralGuards) {
  const SocketPair a;
  const SocketPair b;
  const int first = a.mine.get();
  const int second = b.mine.get();
  const auto guard = keep_from_children({&first, 1});
  const auto other_guard = keep_from_children({&second, 1});
  ASSERT_TRUE(guard.is_ok() && other_guard.is_ok());
  EXPECT_TRUE(
      in_child([&] { return in_child([&] { return is_null_device(first) && is_null_device(second); }); }));
}

}  // namespace
}  // namespace hvd
