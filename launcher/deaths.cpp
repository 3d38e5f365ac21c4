#include "launcher/deaths.h"

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace hvd::launcher {

Deaths::Deaths() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

void Deaths::watch(pid_t pid) {
  UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = pid;
  if (!process.is_open() || ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, process.get(), &event) != 0) return;
  watched_[pid] = std::move(process);
}

std::optional<pid_t> Deaths::next_in_order() {
  if (ended_.empty() && !watched_.empty()) {
    std::array<epoll_event, 64> events{};
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < count; ++i) {
      const pid_t pid = events.at(static_cast<std::size_t>(i)).data.fd;
      ended_.push_back(pid);
      const auto watched = watched_.find(pid);
      if (watched == watched_.end()) continue;
      // Closing is not enough while a forked child holds the descriptor too.
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, watched->second.get(), nullptr);
      watched_.erase(watched);
    }
  }
  if (ended_.empty()) return std::nullopt;
  const pid_t pid = ended_.front();
  ended_.pop_front();
  return pid;
}

std::optional<Deaths::Death> Deaths::next() {
  Death death;
  while (true) {
    if (const auto pid = next_in_order()) {
      death.pid = ::waitpid(*pid, &death.status, WNOHANG);
      if (death.pid == *pid) return death;
      continue;
    }
    siginfo_t ended{};
    const int looked = ::waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT);
    if (looked != 0 && errno == EINTR) continue;
    nobody_is_left_ = looked != 0;
    if (looked != 0 || ended.si_pid == 0) return std::nullopt;
    // One that is watched has died since the look above; another may have before it.
    if (watched_.contains(ended.si_pid)) {
      if (const auto first = next_in_order()) {
        ended_.push_front(*first);
        continue;
      }
    }
    death.pid = ::waitpid(ended.si_pid, &death.status, WNOHANG);
    if (death.pid > 0) return death;
  }
}

}  // namespace hvd::launcher
