// Meeting: how the ranks of a job come to be connected, before there is a Session.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "bindings/runtime/launch_environment.h"
#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/log.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"
#include "horovod_cpp/ports/memory_exchange.h"
#include "horovod_cpp/ports/transport.h"
#include "horovod_cpp/rendezvous/client.h"
#include "horovod_cpp/secure/secure_socket.h"

namespace hvd {

// A Transport between all ranks, and where this process stands among them.
struct Meeting {
  Placement placement;
  std::unique_ptr<Transport> transport;
  std::string job_key;       // under hvdrun, of two or more ranks
  LossLine losses;           // likewise, until the ranks are connected
  std::vector<int> sockets;  // of the Transport and of what was made over it for tensors; not owned
};

// Whom a process meets.
enum class Meet {
  all,        // ranks of the job
  survivors,  // after a loss: those who are left, as hvdrun decides
};

// Collective. Under hvdrun by its rendezvous server and TCP; under mpirun by the MPI plugin; alone without either.
// `timeout` runs anew once all have come: a late rank must not take the others' time to connect.
// A warning names those who are late.
// unavailable: survivors can meet under hvdrun only.
Result<Meeting> meet(const LaunchEnvironment& launch, std::chrono::seconds timeout, Meet whom,
                     LogLevel log_level);

// What ranks of one host have in common.
struct LocalGroup {
  std::vector<UniqueFd> links;             // a socket to each rank
  std::shared_ptr<MemoryExchange> memory;  // has sockets of its own:
  std::vector<int> sockets;                // not owned
};

// Collective. `unavailable` on every rank if some ranks cannot share memory: they are on different hosts.
Result<LocalGroup> join_local_group(Transport& bootstrap, Deadline deadline);

// Collective. A Transport over TCP connections of its own, for the tensors; plain bytes unless `encrypt`.
Result<std::unique_ptr<Transport>> open_data_transport(Meeting& meeting, bool encrypt, Deadline deadline);

// Collective. TLS between all ranks, for the watcher of ranks on several hosts. The links end when a host has been silent for `host_silence`
// (0: as TCP likes).
Result<std::vector<SecureSocket>> open_remote_links(Meeting& meeting, std::chrono::seconds host_silence,
                                                    Deadline deadline);

}  // namespace hvd
