// Transport over MPI point-to-point messages, for ranks that mpirun started.
// Ranks are those of MPI_COMM_WORLD.
//
// Chosen with HVD_CONTROL=mpi. all_gather sends each rank's bytes to every other rank rather than calling a
// collective of MPI, because wait() must see that a peer has begun.
#pragma once

#include <memory>

#include "horovod_cpp/ports/transport.h"
#include "ops/mpi/channel.h"

namespace hvd::mpi {

// Collective over MPI_COMM_WORLD.
Result<std::unique_ptr<Transport>> open_transport(Runtime& runtime, Deadline deadline);

}  // namespace hvd::mpi
