// Collectives on host memory over MPI's non-blocking collectives, for ranks that mpirun started.
//
// The batch is walked in windows: one that lies within a single slice is reduced in place in the output,
// others are packed. allreduce: every type but the 16-bit and 8-bit floats, which MPI does not have (see
// reductions.h). broadcast: every type.
// Bits: the same on all ranks as far as MPI's algorithm gives every rank the same result (Open MPI: yes; a
// NaN's sign and payload excepted); from run to run as MPI chooses its algorithm.
// After a failure the slices' outputs may still be written
// to by MPI if the program itself goes on calling MPI.
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
