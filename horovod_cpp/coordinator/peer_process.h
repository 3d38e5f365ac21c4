// The process at the other end of a local socket.
//
// Functions without state; any thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "horovod_cpp/base/unique_fd.h"

namespace hvd {

// 0 if the socket leads to another host, or to a process that cannot be seen from here.
pid_t pid_of_peer(int socket);
// A pidfd; closed if there is no pid, it is this process (ranks as threads), or the kernel has no pidfds.
UniqueFd open_process(pid_t pid);
// Why it cannot go on, by /proc: "its process is stopped …"; empty if nothing is known to hold it up.
std::string trouble_of_process(pid_t pid);
// Pure: the same from the content of /proc/PID/stat.
std::string trouble_of_process(pid_t pid, std::string_view stat);

}  // namespace hvd
