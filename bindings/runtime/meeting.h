// Meeting: how the ranks of a job come to be connected, before there is a Session.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "bindings/runtime/launch_environment.h"
#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"
#include "horovod_cpp/ports/memory_exchange.h"
#include "horovod_cpp/ports/transport.h"

namespace hvd {

// A Transport between all ranks, and where this process stands among them.
struct Meeting {
  Placement placement;
  std::unique_ptr<Transport> transport;
  std::string job_key;       // under hvdrun, of two or more ranks
  std::vector<int> sockets;  // of the Transport, not owned
};

// Whom a process meets.
enum class Meet {
  all,        // ranks of the job
  survivors,  // after a loss: those who are left, as hvdrun decides
};

// Collective. Under hvdrun by its rendezvous server and TCP; under mpirun by the MPI plugin; alone without either.
// `timeout` runs anew once all have come: a late rank must not take the others' time to connect.
// unavailable: survivors can meet under hvdrun only.
Result<Meeting> meet(const LaunchEnvironment& launch, std::chrono::seconds timeout, Meet whom);

// What ranks of one host have in common.
struct LocalGroup {
  std::vector<UniqueFd> links;             // a socket to each rank
  std::shared_ptr<MemoryExchange> memory;  // has sockets of its own:
  std::vector<int> sockets;                // not owned
};

// Collective. `unavailable` on every rank if some ranks cannot share memory: they are on different hosts.
Result<LocalGroup> join_local_group(Transport& bootstrap, Deadline deadline);

// Collective. TCP sockets between all ranks, for the watcher of ranks on several hosts. They end when a host has been silent for
// `host_silence` (0: as TCP likes).
Result<std::vector<UniqueFd>> open_remote_links(Transport& bootstrap, const std::string& job_key,
                                                std::chrono::seconds host_silence, Deadline deadline);

}  // namespace hvd
