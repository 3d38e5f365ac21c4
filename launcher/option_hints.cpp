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

// The commonest options of mpirun that hvdrun does not have. Those of horovodrun are accepted (horovodrun_options).
constexpr ForeignOption kForeign[] = {
    {"--host", "the option is -H or --hosts"},
    {"-host", "the option is -H or --hosts"},
    {"--mca",
     "ranks find each other by themselves; to run over MPI start the program with mpirun instead of hvdrun"},
    {"--bind-to",
     "ranks are bound to equal shares of the cores; --no-bind leaves them free, taskset limits them"},
    {"--oversubscribe", "more ranks than cores are allowed; leave it out"},
    {"--allow-run-as-root", "root is allowed; leave it out"},
    {"--tag-output", "lines carry their rank anyway; leave it out"},
    {"-x", "ranks inherit the whole environment; leave it out"},
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
