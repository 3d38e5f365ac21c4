#include "horovod_cpp/base/socket.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <system_error>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

Status last_error(const std::string& what) {
  // What this process lacks, and no further attempt will give it.
  const bool is_ours = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
  return {is_ours ? StatusCode::aborted : StatusCode::unavailable, what + ": " + error_text(errno)};
}

bool would_block(int error_number) { return error_number == EAGAIN || error_number == EWOULDBLOCK; }

}  // namespace

SocketAddress::SocketAddress(const sockaddr* address, socklen_t length_bytes)
    : length_bytes_(std::min<socklen_t>(length_bytes, sizeof(storage_))) {
  std::memcpy(&storage_, address, length_bytes_);
}

Result<SocketAddress> SocketAddress::parse(const std::string& text) {
  const Status bad = Status::invalid_argument(
      hvd::text("'", text, "' is not an address: expected numbers as in 127.0.0.1:40123 or [::1]:40123"));
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return bad;
  std::string host = text.substr(0, colon);
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + colon + 1, end, port);
  if (parsed.ec != std::errc() || parsed.ptr != end) return bad;

  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    if (const std::size_t percent = host.find('%'); percent != std::string::npos) {
      const std::string scope = host.substr(percent + 1);
      address.sin6_scope_id = ::if_nametoindex(scope.c_str());
      if (address.sin6_scope_id == 0)
        std::from_chars(scope.data(), scope.data() + scope.size(), address.sin6_scope_id);
      host.resize(percent);
    }
    if (::inet_pton(AF_INET6, host.c_str(), &address.sin6_addr) != 1) return bad;
    return SocketAddress(reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) return bad;
  return SocketAddress(reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

Result<SocketAddress> SocketAddress::of(int socket) {
  SocketAddress out;
  out.length_bytes_ = sizeof(out.storage_);
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&out.storage_), &out.length_bytes_) != 0) {
    return last_error("cannot tell a socket's address");
  }
  return out;
}

std::string SocketAddress::text() const {
  std::array<char, INET6_ADDRSTRLEN> host{};
  if (family() == AF_INET6) {
    const auto& address = reinterpret_cast<const sockaddr_in6&>(storage_);
    ::inet_ntop(AF_INET6, &address.sin6_addr, host.data(), host.size());
    std::string scope;
    if (address.sin6_scope_id != 0) scope = hvd::text("%", address.sin6_scope_id);
    return hvd::text("[", host.data(), scope, "]:", port());
  }
  if (family() == AF_INET) {
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(storage_).sin_addr, host.data(), host.size());
    return hvd::text(host.data(), ":", port());
  }
  return "?";
}

std::uint16_t SocketAddress::port() const {
  if (family() == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(storage_).sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in&>(storage_).sin_port);
}

void SocketAddress::set_port(std::uint16_t port) {
  if (family() == AF_INET6) {
    reinterpret_cast<sockaddr_in6&>(storage_).sin6_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in&>(storage_).sin_port = htons(port);
  }
}

Result<UniqueFd> listen_tcp(const SocketAddress& address, int backlog) {
  const std::string what = "cannot listen on " + address.text();
  UniqueFd socket(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return last_error(what);
  const int on = 1;
  const int off = 0;
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0) return last_error(what);
  if (address.family() == AF_INET6 &&
      ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0) {
    return last_error(what);
  }
  if (::bind(socket.get(), address.data(), address.length_bytes()) != 0) return last_error(what);
  if (::listen(socket.get(), backlog) != 0) return last_error(what);
  return socket;
}

Result<UniqueFd> accept_connection(int listener) {
  while (true) {
    UniqueFd socket(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket.is_open() || would_block(errno)) return socket;
    // The connection that failed before it was accepted is not ours to report: accept(2).
    if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO) continue;
    const Status why = last_error("cannot accept a connection");
    // Without a descriptor left it fails before it looks whether anybody wants to connect.
    pollfd entry{listener, POLLIN, 0};
    if (::poll(&entry, 1, 0) == 0) return UniqueFd();
    return why;
  }
}

Result<UniqueFd> start_connect(const SocketAddress& address) {
  UniqueFd socket(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return last_error("cannot open a socket");
  if (::connect(socket.get(), address.data(), address.length_bytes()) != 0 && errno != EINPROGRESS &&
      errno != EINTR) {
    return last_error("cannot connect to " + address.text());
  }
  return socket;
}

int pending_error(int socket) {
  int error_number = 0;
  socklen_t length = sizeof(error_number);
  if (::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error_number, &length) != 0) return errno;
  return error_number;
}

Status disable_nagle(int socket) {
  const int on = 1;
  if (::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
    return last_error("cannot set TCP_NODELAY");
  return {};
}

Status end_when_host_is_silent(int socket, std::chrono::seconds limit) {
  const int on = 1;
  const int seconds = static_cast<int>(std::min<std::chrono::seconds::rep>(limit.count(), 30'000));
  const int milliseconds = 1000 * seconds;
  const int idle = std::max(1, seconds / 3);
  const int interval = std::max(1, seconds / 6);
  const bool is_set =
      ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle)) == 0 &&
      ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval)) == 0 &&
      ::setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof(milliseconds)) == 0 &&
      ::setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) == 0;
  return is_set ? Status() : last_error("cannot set TCP_USER_TIMEOUT");
}

bool is_silence_of_host(int error_number) {
  return error_number == ETIMEDOUT || error_number == EHOSTUNREACH || error_number == ENETUNREACH ||
         error_number == EHOSTDOWN || error_number == ENETDOWN;
}

Result<bool> wait_for_events(int fd, short events, Deadline deadline) {
  pollfd entry{fd, events, 0};
  while (true) {
    const int ready = ::poll(&entry, 1, deadline.poll_timeout_ms());
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return last_error("poll failed");
    if (deadline.passed()) return false;
  }
}

Progress send_some(int socket, std::span<const std::byte> first, std::span<const std::byte> second) {
  std::array<iovec, 2> pieces{};
  pieces[0] = {const_cast<std::byte*>(first.data()), first.size()};
  pieces[1] = {const_cast<std::byte*>(second.data()), second.size()};
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  while (true) {
    const ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) return {static_cast<std::size_t>(sent), true};
    if (errno == EINTR) continue;
    const bool is_open = would_block(errno) || errno == ENOBUFS;
    return {0, is_open, is_open ? 0 : errno};
  }
}

Progress receive_some(int socket, std::span<std::byte> bytes) {
  while (true) {
    const ssize_t received = ::recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (received > 0) return {static_cast<std::size_t>(received), true};
    if (received == 0) return {0, bytes.empty()};
    if (errno == EINTR) continue;
    const bool is_open = would_block(errno);
    return {0, is_open, is_open ? 0 : errno};
  }
}

Status send_all(int socket, std::span<const std::byte> bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const Progress progress = send_some(socket, bytes);
    if (!progress.is_open) return Status::aborted("the other side closed the connection");
    bytes = bytes.subspan(progress.bytes);
    if (progress.bytes > 0) continue;
    const auto ready = wait_for_events(socket, POLLOUT, deadline);
    if (!ready.is_ok()) return ready.status();
    if (!ready.value()) return Status::timed_out("the other side took nothing before the deadline");
  }
  return {};
}

Status receive_all(int socket, std::span<std::byte> bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const Progress progress = receive_some(socket, bytes);
    if (!progress.is_open) return Status::aborted("the other side closed the connection");
    bytes = bytes.subspan(progress.bytes);
    if (progress.bytes > 0) continue;
    const auto ready = wait_for_events(socket, POLLIN, deadline);
    if (!ready.is_ok()) return ready.status();
    if (!ready.value()) return Status::timed_out("nothing came from the other side before the deadline");
  }
  return {};
}

}  // namespace hvd
