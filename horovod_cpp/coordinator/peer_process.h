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
// What it is doing, by /proc, as the end of a sentence: "its process is stopped …".
std::string words_for_process(pid_t pid);
// Pure: the same from the content of /proc/PID/stat.
std::string words_for_process(pid_t pid, std::string_view stat);

}  // namespace hvd
