#include "launcher/nonblocking.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

namespace hvd::launcher {

UniqueFd reopen_nonblocking(int fd, int flags) {
  struct stat info{};
  if (fstat(fd, &info) != 0 || (!S_ISFIFO(info.st_mode) && isatty(fd) == 0)) return UniqueFd();
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  return UniqueFd(open(path.c_str(), flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
}

Pipe make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {};
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

}  // namespace hvd::launcher
