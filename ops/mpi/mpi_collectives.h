// Collectives on host memory over MPI's non-blocking collectives, for ranks that mpirun started.
//
// The batch is walked in windows, which are packed into the channel's memory and reduced there: MPI never sees the caller's memory,
// so after a failure nobody writes to it. Every type and operation (see reductions.h), allgather and alltoall by parcels.h.
// reducescatter is an allreduce whose result is cut: MPI_Ireduce_scatter may add in another order, and its bits must be those of the
// allreduce. (Open MPI 4 would reduce everything to one rank and scatter from there.)
// Subgroups have communicators of their own, but MPI is one for the process: whatever gives it up ends all of them.
// Bits: the same on all ranks as far as MPI's algorithm gives every rank the same result (Open MPI: yes; a
// NaN's sign and payload excepted); from run to run as MPI chooses its algorithm.
#pragma once

#include <memory>

#include "horovod_cpp/ports/collectives.h"
#include "horovod_cpp/ports/transport.h"
#include "ops/mpi/mpi_runtime.h"

namespace hvd::mpi {

// Collective over `bootstrap`, whose ranks must be those of MPI_COMM_WORLD: otherwise every rank gets
// `unavailable`. `runtime_or_why`: what Runtime::open said on this rank.
Result<std::unique_ptr<Collectives>> open_collectives(const Result<Runtime*>& runtime_or_why,
                                                      Transport& bootstrap, Deadline deadline);

}  // namespace hvd::mpi
