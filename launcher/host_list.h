// The value of -H: "localhost:2,node1:4", and the content of a hostfile. Pure.
//
// The seam for remote hosts: whoever adds them lifts check_hosts and gives each host a supervisor of its own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "horovod_cpp/base/status.h"

namespace hvd::launcher {

struct HostSlots {
  std::string host;
  int slots = 1;
};

// "host", "host:slots", "[::1]:slots", separated by commas.
Result<std::vector<HostSlots>> parse_hosts(std::string_view list);

// "HOST", "HOST slots=N" or "HOST:N" a line; what follows a # is ignored.
Result<std::vector<HostSlots>> parse_hostfile(std::string_view content);

// ok if every host is this one (localhost, a loopback address,
// `own_hostname` with or without its domain) and the slots suffice. `option` is what the user gave them by.
Status check_hosts(const std::vector<HostSlots>& hosts, std::string_view own_hostname, int num_proc,
                   std::string_view option = "--hosts");

}  // namespace hvd::launcher
