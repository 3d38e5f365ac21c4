// Starts the ranks and looks after them until nobody is left.
//
// A process of its own between the front process (what the user sees and kills) and the ranks. It is the
// subreaper of everything the ranks start. Whichever of front process and supervisor dies, the other kills
// all that is below; ranks die with the supervisor (PR_SET_PDEATHSIG), also if both are killed at once.
//
// One thread, one poll loop, nothing in it blocks: children (signalfd), the front process's pipe, the ranks'
// outputs, hvdrun's own stdout and stderr, the rendezvous server.
#pragma once

#include "horovod_cpp/base/unique_fd.h"
#include "launcher/job_plan.h"
#include "launcher/process_setup.h"

namespace hvd::launcher {

struct SupervisorEnds {
  // From the front process: one byte a signal to pass on; its end means that the front process is gone.
  UniqueFd control;
  // Rank 0's standard input; not open: hvdrun's own, which is no terminal then.
  UniqueFd stdin_of_rank_0;
};

// Returns the job's exit status.
int supervise(const JobPlan& plan, const ProcessSetup& setup, SupervisorEnds ends);

}  // namespace hvd::launcher
