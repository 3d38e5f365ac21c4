// Keeps sockets from the children that this process forks. While a child holds a socket, the other side does not see that this process
// has died.
//
// In the child, within fork(2), /dev/null takes the place of each socket: the number stays taken, so nothing else can be closed or read by
// mistake. Sockets that have been closed since, and whose number means something else now, are left alone. Children made without fork
// handlers (vfork, clone) keep the sockets until they execute a program.
// Threading: any thread.
#pragma once

#include <memory>
#include <span>

#include "horovod_cpp/base/status.h"

namespace hvd {

// As long as the result lives. The sockets are not owned. unavailable: no descriptor left.
Result<std::shared_ptr<void>> keep_from_children(std::span<const int> sockets);

}  // namespace hvd
