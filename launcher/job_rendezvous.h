// The rendezvous server of a job on this host.
#pragma once

#include <memory>
#include <string>

#include "horovod_cpp/rendezvous/server.h"
#include "launcher/job.h"

namespace hvd::launcher {

// Listens on the loopback address: IPv4's, or IPv6's where there is no other.
Result<std::unique_ptr<RendezvousServer>> open_rendezvous(const JobOptions& options,
                                                          const std::string& job_key);

}  // namespace hvd::launcher
