// Sockets as the core uses them: non-blocking, close-on-exec, no SIGPIPE, every wait with a deadline.
//
// Functions without state; any thread. Descriptors are not owned unless a UniqueFd is returned.
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/process_limits.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"

namespace hvd {

// A numeric IPv4 or IPv6 address with a port.
class SocketAddress {
 public:
  SocketAddress() = default;
  SocketAddress(const sockaddr* address, socklen_t length_bytes);

  // "127.0.0.1:40123", "[::1]:40123", "[fe80::1%eth0]:40123".
  // Names are not resolved: that could not obey a deadline (rendezvous/address_lookup.h does).
  static Result<SocketAddress> parse(const std::string& text);
  // Where a bound socket listens.
  static Result<SocketAddress> of(int socket);

  std::string text() const;
  std::uint16_t port() const;
  void set_port(std::uint16_t port);
  int family() const { return storage_.ss_family; }
  const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t length_bytes() const { return length_bytes_; }

 private:
  sockaddr_storage storage_{};
  socklen_t length_bytes_ = 0;
};

// Port 0: the system chooses. An IPv6 wildcard listens on IPv4 as well.
Result<UniqueFd> listen_tcp(const SocketAddress& address, int backlog);
// The next connection, if there is one; a closed UniqueFd if not.
Result<UniqueFd> accept_connection(int listener);
// Begins to connect. When the socket becomes writable, pending_error tells the outcome (0: connected).
Result<UniqueFd> start_connect(const SocketAddress& address);
int pending_error(int socket);
// Small messages leave at once.
Status disable_nagle(int socket);
// A TCP connection ends with ETIMEDOUT, or with what the network says, once the other side's kernel has acknowledged nothing for so long,
// also if nothing is sent. Only for connections whose messages are read at once: Linux counts a receiver whose buffer is full, as that of a
// stopped process may be, as one that does not answer.
Status end_when_host_is_silent(int socket, std::chrono::seconds limit);
// Whether this errno value says so.
bool is_silence_of_host(int error_number);

// Waits until poll(2) reports one of `events` (or an error or hang-up); false if the deadline passed first.
Result<bool> wait_for_events(int fd, short events, Deadline deadline);

// All bytes, or: timed_out; aborted if the other side closed or reset the connection.
Status send_all(int socket, std::span<const std::byte> bytes, Deadline deadline);
Status receive_all(int socket, std::span<std::byte> bytes, Deadline deadline);

// One try, without waiting. A count of 0 with is_open: nothing now.
struct Progress {
  std::size_t bytes = 0;
  bool is_open = true;  // false: the other side closed, reset or shut down the connection
  int error = 0;        // why it is not open, if it broke: errno
};
Progress send_some(int socket, std::span<const std::byte> first, std::span<const std::byte> second = {});
Progress receive_some(int socket, std::span<std::byte> bytes);

}  // namespace hvd
