// A connected socket between any two ranks of one host.
#pragma once

#include <vector>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"
#include "horovod_cpp/ports/transport.h"

namespace hvd {

// Collective over `bootstrap`, which is used during the call only. result[r] is a non-blocking, close-on-exec
// AF_UNIX stream socket to rank r; the own entry is closed. Sockets have no name in the file system, belong
// to the same user on both sides, and have proven to know a secret that travelled through `bootstrap`.
// Errors, the same on every rank: unavailable, naming a pair of ranks, if any two cannot reach each other:
// they are not on one host, or not in one network namespace. What `bootstrap` says, if it fails.
Result<std::vector<UniqueFd>> connect_local_mesh(Transport& bootstrap, Deadline deadline);

}  // namespace hvd
