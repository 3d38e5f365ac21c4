// FramedTransport: messages over ByteLanes; the Transport for shared memory and for TCP.
//
// Wire format, per message: kind (u32: 0x44565831 exchange, 0x44565832 all-gather), flags (u32, 0), length
// (u64), then the bytes. Messages of a pair share one ordered stream, so that ranks that call different
// operations, or name different lengths, get an error instead of each other's bytes. A length over
// kMaxMessageBytes is refused before anything is allocated.
//
// After a deadline has passed within exchange or all_gather the streams stand in the middle of a message:
// that failure is kept.
#pragma once

#include <memory>

#include "horovod_cpp/ports/transport.h"
#include "horovod_cpp/transport/framing/byte_lanes.h"

namespace hvd {

// The most that one rank may contribute to an all_gather.
// An exchange has no limit: both sides name its length.
inline constexpr std::size_t kMaxMessageBytes = std::size_t{1} << 30;

std::unique_ptr<Transport> make_framed_transport(std::unique_ptr<ByteLanes> lanes);

}  // namespace hvd
