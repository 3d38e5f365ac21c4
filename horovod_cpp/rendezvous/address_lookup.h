// Where a rendezvous server is, from what a user wrote.
#pragma once

#include <string>
#include <vector>

#include "horovod_cpp/base/socket.h"

namespace hvd {

// "127.0.0.1:40123", "[::1]:40123", "node1:40123": all addresses of the host, in the order in which to try them. A name is looked up in the
// time that the system's resolver takes (resolv.conf), without a deadline.
// invalid_argument: this is no address, or there is no such host. unavailable: nobody knows at the moment.
Result<std::vector<SocketAddress>> look_up_address(const std::string& text);

}  // namespace hvd
