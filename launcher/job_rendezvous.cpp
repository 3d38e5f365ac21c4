#include "launcher/job_rendezvous.h"

namespace hvd::launcher {

Result<std::unique_ptr<RendezvousServer>> open_rendezvous(const JobOptions& options,
                                                          const std::string& job_key) {
  const LossPolicy losses{options.min_num_proc, options.meet_again_patience};
  auto server = RendezvousServer::listen("127.0.0.1", options.num_proc, job_key, losses);
  if (server.is_ok()) return server;
  auto other = RendezvousServer::listen("[::1]", options.num_proc, job_key, losses);
  return other.is_ok() ? std::move(other) : std::move(server);
}

}  // namespace hvd::launcher
