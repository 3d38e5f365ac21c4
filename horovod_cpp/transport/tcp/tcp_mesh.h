// A TCP connection between any two ranks of a job.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"
#include "horovod_cpp/secure/secure_socket.h"
#include "horovod_cpp/transport/tcp/handshake.h"
#include "horovod_cpp/transport/tcp/tcp_contact.h"

namespace hvd {

// A connection whose other side has proven that it is that rank of the job.
struct TcpLink {
  UniqueFd socket;
  KeyedHash key{};  // known to the two ends of this connection only
};

// Somebody who knows of a rank that ends before it is connected. Called on the thread that connects.
struct LossWatch {
  std::function<int()> fd;        // readable when check() may have news; -1: it will have none
  std::function<Status()> check;  // not ok: connecting ends with it
};

// Collective. contacts[r] is rank r's TcpListener::contact(). result[r] has a non-blocking,
// close-on-exec socket to rank r; the own entry is closed. Each
// rank connects to the lower ranks and accepts the higher ones. Every address of a peer is
// tried, again and again until the deadline. Connections of strangers (another protocol,
// another job key, silence) are dropped. `job_key` has at most 128 bytes.
// Errors: timed_out, naming the ranks that are missing and what happened with them last; what `losses` says.
Result<std::vector<TcpLink>> connect_tcp_links(int rank, int size, const TcpListener& listener,
                                               std::span<const TcpContact> contacts,
                                               const std::string& job_key, LinkPurpose purpose,
                                               Deadline deadline, const LossWatch& losses = {});

// Collective. Puts TLS on each link, with its own key. timed_out or unavailable name the rank.
Result<std::vector<SecureSocket>> secure_links(int rank, std::vector<TcpLink> links, Deadline deadline);

// The sockets alone, for plain bytes.
std::vector<UniqueFd> sockets_of(std::vector<TcpLink> links);

// Collective. connect_tcp_links for plain data.
Result<std::vector<UniqueFd>> connect_tcp_mesh(int rank, int size, const TcpListener& listener,
                                               std::span<const TcpContact> contacts,
                                               const std::string& job_key, Deadline deadline);

}  // namespace hvd
