#include "horovod_cpp/coordinator/peer_process.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "horovod_cpp/base/text.h"

namespace hvd {

pid_t pid_of_peer(int socket) {
  ucred credentials{};
  socklen_t length = sizeof(credentials);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return 0;
  return std::max(0, credentials.pid);
}

UniqueFd open_process(pid_t pid) {
  errno = 0;
  if (pid == 0 || pid == ::getpid()) return UniqueFd();
  return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

std::string trouble_of_process(pid_t pid) {
  if (pid == 0) return "";
  std::string stat;
  std::ifstream file(text("/proc/", pid, "/stat"));
  std::getline(file, stat);
  return trouble_of_process(pid, stat);
}

std::string trouble_of_process(pid_t pid, std::string_view stat) {
  // The state follows the name, which is in parentheses and may hold anything.
  const std::size_t name_end = stat.rfind(") ");
  const char state =
      name_end == std::string_view::npos || name_end + 2 >= stat.size() ? '?' : stat[name_end + 2];
  switch (state) {
    case 'T':
      return text("its process is stopped (SIGSTOP or a terminal); kill -CONT ", pid, " lets it go on");
    case 't':
      return "a debugger holds its process";
    case 'D':
      return "its process waits for a disk or a device";
    default:
      return "";
  }
}

}  // namespace hvd
