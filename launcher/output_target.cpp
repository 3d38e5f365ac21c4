#include "launcher/output_target.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>

#include "launcher/nonblocking.h"

namespace hvd::launcher {
namespace {

bool knows_escapes() {
  const char* const term = std::getenv("TERM");
  return term != nullptr && *term != '\0' && std::string_view(term) != "dumb";
}

// EPIPE of a pipe, EIO of a terminal, ECONNRESET of a socket.
bool means_reader_is_gone(int error) { return error == EPIPE || error == EIO || error == ECONNRESET; }

}  // namespace

OutputTarget::OutputTarget(int fd)
    : fd_(fd),
      reopened_(reopen_nonblocking(fd, O_WRONLY)),
      is_terminal_(isatty(fd) != 0),
      erases_lines_(is_terminal_ && knows_escapes()) {}

void OutputTarget::append(std::string_view lines) {
  if (closed_) return;
  if (!erases_lines_) {
    pending_ += lines;
    return;
  }
  // What follows a progress bar overwrites it, and must not leave its tail behind.
  for (const char byte : lines) {
    if (after_return_ && byte != '\n') pending_ += "\x1b[K";
    after_return_ = byte == '\r';
    pending_ += byte;
  }
}

void OutputTarget::write_some() {
  while (!closed_ && has_pending()) {
    const char* const data = pending_.data() + written_;
    std::size_t length = pending_.size() - written_;
    // Without a descriptor of our own, a pipe that poll calls writable takes this much without blocking.
    const bool own = reopened_.is_open();
    if (!own) length = std::min<std::size_t>(length, PIPE_BUF);
    ssize_t count = own ? -1 : send(fd_, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (own || (count < 0 && errno == ENOTSOCK)) count = write(fd(), data, length);
    if (count < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      if (means_reader_is_gone(errno)) return close();
      // The ranks go on; what comes when the disk has room again is written.
      if (error_ == 0) error_ = errno;
      return forget_pending();
    }
    written_ += static_cast<std::size_t>(count);
    if (!own) break;
  }
  if (!has_pending()) {
    forget_pending();
  } else if (written_ > kMostPendingBytes) {
    pending_.erase(0, written_);
    written_ = 0;
  }
}

void OutputTarget::close() {
  closed_ = true;
  forget_pending();
}

int OutputTarget::take_error() {
  if (error_is_told_) return 0;
  error_is_told_ = error_ != 0;
  return error_;
}

void OutputTarget::forget_pending() {
  pending_.clear();
  written_ = 0;
}

}  // namespace hvd::launcher
