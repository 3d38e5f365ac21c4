// The Transport over one TCP connection to each rank.
//
// A peer that dies, leaves or aborts closes its connections: the calls of others that need it end with
// aborted, naming it. A peer whose host falls silent is noticed by deadlines only.
#pragma once

#include <memory>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"
#include "horovod_cpp/ports/transport.h"

namespace hvd {

// sockets[r] leads to rank r; the own entry is ignored. unavailable if the system has no descriptor left.
Result<std::unique_ptr<Transport>> make_tcp_transport(int rank, std::vector<UniqueFd> sockets);

}  // namespace hvd
