// The process that the user sees: passes signals and typed input on to the supervisor, and ends with the
// job's exit status. If the supervisor is killed, it kills everything that is left.
#pragma once

#include "launcher/job_plan.h"
#include "launcher/process_setup.h"

namespace hvd::launcher {

// Forks the supervisor. Returns the exit status, in both processes. `argc`, `argv`: main's.
int run_job(const JobPlan& plan, const ProcessSetup& setup, int argc, char** argv);

}  // namespace hvd::launcher
