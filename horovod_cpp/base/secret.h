// The job key: what the processes of one job know and strangers do not.
//
// For now it travels in clear text in the first message of a connection
// (transport/tcp/handshake.h, rendezvous/protocol.h), so it keeps apart the jobs of one
// trusted network, and its accidents, but does not stop who can read that network. TLS
// with a pre-shared key will take the place of both uses; nothing else looks at the key.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "horovod_cpp/base/status.h"

namespace hvd {

// Takes the same time wherever the difference is.
bool is_same_secret(std::string_view left, std::string_view right);

// 2 × bytes hexadecimal digits from the system's random source.
Result<std::string> random_secret(std::size_t bytes);

}  // namespace hvd
