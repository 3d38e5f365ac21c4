// Descriptors that never block hvdrun's loops.
#pragma once

#include "horovod_cpp/base/unique_fd.h"

namespace hvd::launcher {

// The pipe or terminal behind `fd`, opened anew with O_NONBLOCK. (Setting O_NONBLOCK on `fd` itself would
// change it for every process that shares it, the user's shell included.) Not open for anything else, or if
// the kernel refuses. `flags`: O_RDONLY or O_WRONLY.
UniqueFd reopen_nonblocking(int fd, int flags);

// Both ends close on exec. Not open if there are too many open files.
struct Pipe {
  UniqueFd read;
  UniqueFd write;
  bool is_open() const { return read.is_open(); }
};
Pipe make_pipe();
void set_nonblocking(int fd);

}  // namespace hvd::launcher
