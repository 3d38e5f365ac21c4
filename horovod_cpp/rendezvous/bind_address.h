// Where a server is told to listen. Pure.
#pragma once

#include <string>

#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/base/status.h"

namespace hvd {

// Numeric, with or without a port: "127.0.0.1", "::1", "0.0.0.0:4000", "[::]:0". Without one it is 0: the system chooses.
Result<SocketAddress> parse_bind_address(const std::string& text);

}  // namespace hvd
