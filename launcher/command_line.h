// hvdrun's command line. Pure, but for the hostname that the caller passes in.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "launcher/job.h"

namespace hvd::launcher {

struct CommandLine {
  enum class Action {
    run,             // job
    print,           // message, then exit 0 (--help, --version)
    check_build,     // say what is built
    dump,            // ask a running job what it is doing (dump_process)
    merge_timeline,  // timeline
  };
  Action action = Action::run;
  JobOptions job;
  std::string message;
  std::vector<std::string> remarks;  // on options without effect: a line each, for the user
  std::string hostfile;              // whose hosts are to be checked, as --hosts are here
  int dump_process = 0;              // a hvdrun; 0: the only one
  std::string timeline;              // the file that ranks have named
};

// `arguments` without the program's own name. Options end where the program's
// name, or "--", begins: everything after that belongs to the program.
// invalid_argument: one line for the user, without "hvdrun: " before it.
Result<CommandLine> parse_command_line(const std::vector<std::string>& arguments,
                                       std::string_view own_hostname);

}  // namespace hvd::launcher
