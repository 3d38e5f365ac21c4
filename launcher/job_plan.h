// A job, fully decided: what the front process hands to the supervisor.
#pragma once

#include <string>
#include <vector>

#include "launcher/core_plan.h"
#include "launcher/job.h"

namespace hvd::launcher {

struct JobPlan {
  JobOptions options;
  std::string program;  // path of options.command[0]
  CorePlan cores;
  std::vector<std::string> environment;  // of hvdrun
};

}  // namespace hvd::launcher
