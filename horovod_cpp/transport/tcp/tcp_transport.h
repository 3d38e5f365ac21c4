// The Transport over one TCP connection to each rank.
//
// A peer that dies, leaves or aborts closes its connections: the calls of others that need it end with
// aborted, naming it. A peer whose host falls silent is noticed by deadlines only, or
// by others who watch it (Session's watcher) and abort.
#pragma once

#include <memory>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"
#include "horovod_cpp/ports/transport.h"
#include "horovod_cpp/secure/secure_socket.h"

namespace hvd {

// sockets[r] leads to rank r, its handshake done; the own entry is ignored. unavailable if the system has no descriptor left.
Result<std::unique_ptr<Transport>> make_tcp_transport(int rank, std::vector<SecureSocket> sockets);
// Plain bytes.
Result<std::unique_ptr<Transport>> make_tcp_transport(int rank, std::vector<UniqueFd> sockets);

}  // namespace hvd
