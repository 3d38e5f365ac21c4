// Where a rank listens for the others, as they learn it from the rendezvous.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"
#include "horovod_cpp/base/wire.h"

namespace hvd {

struct TcpContact {
  std::string host;                    // host_identity()
  std::vector<std::string> addresses;  // "10.0.0.7:40123", best first; loopback last
};

Bytes encode(const TcpContact& contact);
// Safe on bytes from strangers.
Result<TcpContact> decode_tcp_contact(std::span<const std::byte> bytes);

// The addresses of `theirs` in the order in which a rank with the contact `mine` should try them: loopback
// first on one host, and not at all on different ones.
std::vector<SocketAddress> addresses_to_try(const TcpContact& mine, const TcpContact& theirs);

// Addresses of this host's interfaces that are up, without loopback and
// link-local ones; only of the interfaces named, unless `interfaces` is
// empty. The seam for a setting that restricts a job to some interfaces.
std::vector<SocketAddress> interface_addresses(std::span<const std::string> interfaces);

// Listens on every interface, IPv4 and, where the host has it, IPv6, on a port that the system chooses.
class TcpListener {
 public:
  static Result<TcpListener> open();

  int socket() const { return socket_.get(); }
  const TcpContact& contact() const { return contact_; }

 private:
  TcpListener(UniqueFd socket, TcpContact contact);
  UniqueFd socket_;
  TcpContact contact_;
};

}  // namespace hvd
