// What becomes of the connections of connect_tcp_links.
#include <poll.h>

#include <utility>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/transport/tcp/tcp_mesh.h"

namespace hvd {

Result<std::vector<SecureSocket>> secure_links(int rank, std::vector<TcpLink> links, Deadline deadline) {
  std::vector<SecureSocket> sockets(links.size());
  for (std::size_t peer = 0; peer < links.size(); ++peer) {
    if (!links[peer].socket.is_open()) continue;
    const auto side =
        peer < static_cast<std::size_t>(rank) ? SecureSocket::Side::connects : SecureSocket::Side::accepts;
    auto socket = SecureSocket::over_tls(std::move(links[peer].socket), side, links[peer].key);
    if (!socket.is_ok()) return socket.status();
    sockets[peer] = std::move(socket).value();
  }
  while (true) {
    std::vector<pollfd> waiting;
    int first_waiting = -1;
    for (std::size_t peer = 0; peer < sockets.size(); ++peer) {
      if (!sockets[peer].is_open()) continue;
      const auto done = sockets[peer].handshake();
      if (!done.is_ok()) {
        return done.status().with_prefix(text("rank ", rank, ": TLS with rank ", peer, ": "));
      }
      if (done.value()) continue;
      if (first_waiting < 0) first_waiting = static_cast<int>(peer);
      waiting.push_back({sockets[peer].fd(), sockets[peer].wanted_events(), 0});
    }
    if (waiting.empty()) return sockets;
    if (deadline.passed()) {
      return Status::timed_out(
          text("rank ", rank, ": TLS with rank ", first_waiting, ": no answer before the deadline"));
    }
    ::poll(waiting.data(), waiting.size(), deadline.poll_timeout_ms());
  }
}

std::vector<UniqueFd> sockets_of(std::vector<TcpLink> links) {
  std::vector<UniqueFd> sockets;
  for (TcpLink& link : links) sockets.push_back(std::move(link.socket));
  return sockets;
}

Result<std::vector<UniqueFd>> connect_tcp_mesh(int rank, int size, const TcpListener& listener,
                                               std::span<const TcpContact> contacts,
                                               const std::string& job_key, Deadline deadline) {
  auto links = connect_tcp_links(rank, size, listener, contacts, job_key, LinkPurpose::data, deadline);
  if (!links.is_ok()) return links.status();
  return sockets_of(std::move(links).value());
}

}  // namespace hvd
