#include "bindings/runtime/picture_signal.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>

namespace hvd {
namespace {

// A handler has no other way to what it needs.
std::atomic<int> signal_fd{-1};        // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
std::atomic<pid_t> signal_process{0};  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
static_assert(std::atomic<int>::is_always_lock_free);

void on_picture_signal(int /*signal*/) {
  const int kept_errno = errno;
  const int fd = signal_fd.load();
  if (fd >= 0 && signal_process.load() == ::getpid()) {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(fd, &one, sizeof(one));
  }
  errno = kept_errno;
}

bool is_default() {
  struct sigaction current{};
  return ::sigaction(SIGUSR1, nullptr, &current) == 0 && current.sa_handler == SIG_DFL &&
         (current.sa_flags & SA_SIGINFO) == 0;
}

class Taken {
 public:
  explicit Taken(UniqueFd fd) : fd_(std::move(fd)) {
    signal_process.store(::getpid());
    struct sigaction action{};
    action.sa_handler = on_picture_signal;
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGUSR1, &action, nullptr);
  }
  ~Taken() {
    struct sigaction current{};
    // A program that has installed its own since keeps it.
    if (::sigaction(SIGUSR1, nullptr, &current) == 0 && current.sa_handler == on_picture_signal) {
      struct sigaction action{};
      action.sa_handler = SIG_DFL;
      ::sigaction(SIGUSR1, &action, nullptr);
    }
    signal_fd.store(-1);
  }
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;

 private:
  UniqueFd fd_;
};

}  // namespace

PictureSignal take_picture_signal() {
  if (!is_default()) return {};
  UniqueFd readable(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  UniqueFd mine(readable.is_open() ? ::fcntl(readable.get(), F_DUPFD_CLOEXEC, 0) : -1);
  if (!mine.is_open()) return {};
  int none = -1;
  if (!signal_fd.compare_exchange_strong(none, mine.get())) return {};
  return {std::move(readable), std::make_shared<Taken>(std::move(mine))};
}

}  // namespace hvd
