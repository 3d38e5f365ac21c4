#include "launcher/horovodrun_options.h"

#include <string_view>

#include "horovod_cpp/base/text.h"

namespace hvd::launcher {
namespace {

constexpr const char* kIsSo = "";
constexpr const char* kOneHost =
    "ranks are started on this host only so far; for several hosts use mpirun for now";
constexpr const char* kNoMpi =
    "hvdrun starts the ranks itself; to run over MPI start the program with mpirun instead of hvdrun";
constexpr const char* kTuned = "there is nothing to tune: the plan is made after the first step";
constexpr const char* kNoGrowth = "jobs do not grow: -np says how many ranks there are";
constexpr const char* kNoReturn =
    "ranks that are lost do not come back: the job goes on while --min-np are left";

constexpr HorovodrunOption kOptions[] = {
    // Where ranks run.
    {"-p,--ssh-port", 1, kOneHost},
    {"-i,--ssh-identity-file", 1, kOneHost},
    {"--network-interfaces,--network-interface,--nics", 1, kOneHost},
    {"--disable-cache", 0, kIsSo},
    {"--config-file", 1, "the file is not read: give its options on the command line"},
    // What they talk over.
    {"--gloo", 0, kIsSo},
    {"--mpi", 0, kNoMpi},
    {"--jsrun", 0, kNoMpi},
    {"--mpi-args", 1, kNoMpi},
    {"--tcp", 0, "ranks of one host share memory; HVD_CONTROL=tcp HVD_CPU_OPERATIONS=ring has them use TCP"},
    {"--binding-args", 1,
     "ranks are bound to equal shares of the cores; --no-bind leaves them free, taskset limits them"},
    {"--thread-affinity", 1, "ranks are bound with all their threads; --no-bind leaves them free"},
    {"--gloo-timeout-seconds", 1, "--start-timeout limits the start; nothing else waits by the clock"},
    {"--mpi-threads-disable", 0, kIsSo},
    {"--no-mpi-threads-disable", 0, "MPI is called by one thread only"},
    {"--num-nccl-streams", 1, "there is one stream; what overlaps is found after the first step"},
    // Tuning.
    {"--cycle-time-ms", 1, "there is no cycle: an operation starts when the last rank has submitted it"},
    {"--cache-capacity", 1, kTuned},
    {"--hierarchical-allreduce", 0, kTuned},
    {"--no-hierarchical-allreduce", 0, kIsSo},
    {"--hierarchical-allgather", 0, kTuned},
    {"--no-hierarchical-allgather", 0, kIsSo},
    {"--torus-allreduce", 0, kTuned},
    {"--no-torus-allreduce", 0, kIsSo},
    {"--autotune", 0, kTuned},
    {"--no-autotune", 0, kIsSo},
    {"--autotune-log-file", 1, kTuned},
    {"--autotune-warmup-samples", 1, kTuned},
    {"--autotune-steps-per-sample", 1, kTuned},
    {"--autotune-bayes-opt-max-samples", 1, kTuned},
    {"--autotune-gaussian-process-noise", 1, kTuned},
    // Elastic jobs.
    {"--max-np,--max-num-proc", 1, kNoGrowth},
    {"--slots-per-host,--slots", 1, kNoGrowth},
    {"--host-discovery-script", 1, "the script is not asked: ranks are on this host, and jobs do not grow"},
    {"--reset-limit", 1, kNoReturn},
    {"--blacklist-cooldown-range", 2, kNoReturn},
    // What is seen.
    {"--no-timeline-mark-cycles", 0, kIsSo},
    {"--log-hide-timestamp,--log-without-timestamp", 0, "lines of the log carry the time"},
    {"--no-log-hide-timestamp,--log-with-timestamp", 0, kIsSo},
};

}  // namespace

std::span<const HorovodrunOption> horovodrun_options() { return kOptions; }

std::string remark_on(const HorovodrunOption& option) {
  const std::string_view reason = option.reason;
  if (reason.empty()) return "";
  const std::string_view names = option.names;
  const std::string_view longest = names.substr(names.find("--"));
  return text(longest.substr(0, longest.find(',')), " has no effect: ", reason);
}

}  // namespace hvd::launcher
