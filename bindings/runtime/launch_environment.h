// What the launcher told this process. Pure: reads variables, starts nothing.
#pragma once

#include <string>

#include "horovod_cpp/base/config.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/secure/job_key.h"

namespace hvd {

enum class Launcher {
  none,    // started by hand: a world of one
  hvdrun,  // HVD_RANK, HVD_SIZE, HVD_RENDEZVOUS, …
  mpi,     // mpirun: the MPI library knows the ranks
};

struct LaunchEnvironment {
  Launcher launcher = Launcher::none;
  Placement placement;     // hvdrun: complete; mpi: local_* only, the rest comes from the library
  std::string rendezvous;  // hvdrun: host:port of the rendezvous server
  JobKeySource job_key;    // hvdrun: where to read what proves that a rank belongs to this job
};

// invalid_argument names the variable that is missing or wrong.
Result<LaunchEnvironment> read_launch_environment(const EnvironmentLookup& lookup);

}  // namespace hvd
