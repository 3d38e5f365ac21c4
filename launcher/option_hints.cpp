#include "launcher/option_hints.h"

#include <algorithm>

#include "horovod_cpp/base/known_settings.h"
#include "horovod_cpp/base/text.h"

namespace hvd::launcher {
namespace {

struct ForeignOption {
  std::string_view name;
  std::string_view remedy;
};

constexpr std::string_view kOneHost =
    "hvdrun starts ranks on this host only so far; for several hosts use mpirun for now";
constexpr std::string_view kElastic =
    "jobs that grow come later; leave it out (--min-np lets a job go on without ranks that it loses)";
constexpr std::string_view kOwnTransport =
    "not needed: ranks find each other by themselves; to run over MPI start the program with mpirun instead "
    "of hvdrun";
constexpr std::string_view kNoKnob =
    "there is nothing to tune: the plan is made after the first step; leave it out";

// Options of horovodrun, and the commonest of mpirun, that hvdrun does not have.
constexpr ForeignOption kForeign[] = {
    {"--hostfile", kOneHost},
    {"-hostfile", kOneHost},
    {"--host", "the option is -H or --hosts"},
    {"-host", "the option is -H or --hosts"},
    {"-p", kOneHost},
    {"--ssh-port", kOneHost},
    {"-i", kOneHost},
    {"--ssh-identity-file", kOneHost},
    {"--network-interfaces", kOneHost},
    {"--network-interface", kOneHost},
    {"--config-file", "give the options on the command line"},
    {"--disable-cache", "hvdrun keeps no cache; leave it out"},
    {"--mpi", kOwnTransport},
    {"--gloo", kOwnTransport},
    {"--tcp", kOwnTransport},
    {"--jsrun", kOwnTransport},
    {"--mpi-args", kOwnTransport},
    {"--mca", kOwnTransport},
    {"--binding-args",
     "ranks are bound to equal shares of the cores; --no-bind leaves them free, taskset limits them"},
    {"--bind-to",
     "ranks are bound to equal shares of the cores; --no-bind leaves them free, taskset limits them"},
    {"--oversubscribe", "more ranks than cores are allowed; leave it out"},
    {"--allow-run-as-root", "root is allowed; leave it out"},
    {"--tag-output", "lines carry their rank anyway; leave it out"},
    {"-x", "ranks inherit the whole environment; leave it out"},
    {"--cycle-time-ms", kNoKnob},
    {"--cache-capacity", kNoKnob},
    {"--autotune", kNoKnob},
    {"--no-autotune", kNoKnob},
    {"--hierarchical-allreduce", kNoKnob},
    {"--no-hierarchical-allreduce", kNoKnob},
    {"--hierarchical-allgather", kNoKnob},
    {"--no-hierarchical-allgather", kNoKnob},
    {"--max-np", kElastic},
    {"--max-num-proc", kElastic},
    {"--slots-per-host", kElastic},
    {"--host-discovery-script", kElastic},
    {"--reset-limit", kElastic},
    {"--blacklist-cooldown-range", kElastic},
};

}  // namespace

std::string hint_for_unknown_option(std::string_view option, const std::vector<std::string>& known) {
  const std::string name(option.substr(0, option.find('=')));
  for (const auto& foreign : kForeign) {
    if (foreign.name == name) return text("there is no option ", name, ": ", foreign.remedy);
  }
  const auto nearest =
      std::min_element(known.begin(), known.end(), [&](const std::string& a, const std::string& b) {
        return edit_distance(name, a) < edit_distance(name, b);
      });
  const int farthest = std::max(1, static_cast<int>(name.size()) / 3);
  if (nearest != known.end() && edit_distance(name, *nearest) <= farthest) {
    return text("there is no option ", name, "; did you mean ", *nearest, "?");
  }
  return text("there is no option ", name, "; see hvdrun --help");
}

}  // namespace hvd::launcher
