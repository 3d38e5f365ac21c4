#include "launcher/stdin_relay.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "launcher/nonblocking.h"

namespace hvd::launcher {

StdinRelay::StdinRelay(int terminal, UniqueFd to_rank)
    : terminal_(terminal), reopened_(reopen_nonblocking(terminal, O_RDONLY)), to_rank_(std::move(to_rank)) {
  if (reopened_.is_open()) terminal_ = reopened_.get();
  set_nonblocking(to_rank_.get());
}

bool StdinRelay::is_in_foreground() const {
  const pid_t group = tcgetpgrp(terminal_);
  return group < 0 || group == getpgrp();  // -1: a terminal that controls nobody here
}

StdinRelay::State StdinRelay::state() const {
  if (!to_rank_.is_open()) return State::done;
  if (!pending_.empty()) return State::writing;
  return is_in_foreground() ? State::watching : State::in_background;
}

void StdinRelay::add_to(std::vector<pollfd>& polls) const {
  switch (state()) {
    case State::watching:
      polls.push_back({terminal_, POLLIN, 0});
      return;
    case State::writing:
      polls.push_back({to_rank_.get(), POLLOUT, 0});
      return;
    case State::done:
    case State::in_background:
      polls.push_back({-1, 0, 0});
  }
}

int StdinRelay::poll_timeout_ms() const { return state() == State::in_background ? 300 : -1; }

void StdinRelay::handle(const pollfd& result) {
  if (result.revents == 0 || !to_rank_.is_open()) return;
  if (result.fd == terminal_) {
    read_some();
  } else {
    write_some();
  }
}

void StdinRelay::read_some() {
  char bytes[4096];
  const ssize_t count = read(terminal_, bytes, sizeof bytes);
  if (count > 0) {
    pending_.assign(bytes, static_cast<std::size_t>(count));
    return write_some();
  }
  // EIO from a terminal that is still there: the job went to the background just now (SIGTTIN is ignored).
  const bool later =
      count < 0 && (errno == EINTR || errno == EAGAIN || (errno == EIO && !is_in_foreground()));
  if (!later) to_rank_.reset();
}

void StdinRelay::write_some() {
  const ssize_t count = write(to_rank_.get(), pending_.data(), pending_.size());
  if (count >= 0) {
    pending_.erase(0, static_cast<std::size_t>(count));
  } else if (errno != EINTR && errno != EAGAIN) {
    to_rank_.reset();  // rank 0 reads no more
  }
}

}  // namespace hvd::launcher
