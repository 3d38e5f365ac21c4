// How a rank meets the others of its job at the launcher's RendezvousServer.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/wire.h"

namespace hvd {

// Blocks until all `size` ranks have come; result[r] is what rank r brought
// (at most 1 MiB). Can be called again: the ranks meet in a new round. Any
// thread. A server that does not listen yet is tried again until the deadline.
// Over TLS 1.3, keyed with the job key, which is not sent.
// Errors: invalid_argument, unavailable: the server refused, with its reason; timed_out: which ranks had come
// and which were missing; aborted: the server went away.
Result<std::vector<Bytes>> rendezvous(const std::string& address, const std::string& job_key, int rank,
                                      int size, std::span<const std::byte> mine, Deadline deadline);

}  // namespace hvd
