#include "bindings/runtime/fork_guard.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <utility>
#include <vector>

#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/base/unique_fd.h"

namespace hvd {
namespace {

class Guard;

// fork(2) knows handlers, but nothing of whose they are. Never destroyed: a late fork must find it whole.
struct Registry {
  std::mutex mutex;  // held over a fork, so that the child finds the list whole
  std::vector<const Guard*> guards;
};
Registry& registry() {
  static auto* const only = new Registry;
  return *only;
}

// Which file a number means.
struct Held {
  int number = -1;
  struct stat file{};
};
bool is_same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

class Guard {
 public:
  Guard(UniqueFd null, std::vector<Held> sockets) : null_(std::move(null)), sockets_(std::move(sockets)) {
    const std::lock_guard lock(registry().mutex);
    registry().guards.push_back(this);
  }
  ~Guard() {
    const std::lock_guard lock(registry().mutex);
    std::erase(registry().guards, this);
  }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

  // In the child: system calls only.
  void take_away() const {
    for (const Held& held : sockets_) {
      struct stat now{};
      if (::fstat(held.number, &now) == 0 && is_same_file(now, held.file))
        ::dup3(null_.get(), held.number, O_CLOEXEC);
    }
  }

 private:
  const UniqueFd null_;
  const std::vector<Held> sockets_;
};

void before_fork() { registry().mutex.lock(); }
void after_fork() { registry().mutex.unlock(); }
void after_fork_in_child() {
  const int kept_errno = errno;
  for (const Guard* guard : registry().guards) guard->take_away();
  errno = kept_errno;
  registry().mutex.unlock();
}

}  // namespace

Result<std::shared_ptr<void>> keep_from_children(std::span<const int> sockets) {
  static const int registered = ::pthread_atfork(before_fork, after_fork, after_fork_in_child);
  UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (registered != 0 || !null.is_open()) {
    return Status::unavailable(text("sockets cannot be kept from forked children: ",
                                    error_text(registered != 0 ? registered : errno)));
  }
  std::vector<Held> held;
  for (const int socket : sockets) {
    Held one{socket, {}};
    if (::fstat(socket, &one.file) == 0) held.push_back(one);
  }
  return std::shared_ptr<void>(std::make_shared<Guard>(std::move(null), std::move(held)));
}

}  // namespace hvd
