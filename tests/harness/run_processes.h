// Ranks as processes under the real launcher: run_processes, ProcessJob and HVD_PROCESS_CASE.
#pragma once

#include "tests/harness/process_case.h"  // IWYU pragma: export
#include "tests/harness/process_job.h"   // IWYU pragma: export
