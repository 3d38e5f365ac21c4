// ByteLanes: an ordered, reliable stream of bytes from each rank to each other rank. What FramedTransport
// needs of shared memory or of sockets.
//
// Threading: one thread at a time, except wake and hang_up, which any thread may call at any time and which
// never block. Only sleep blocks. `peer` is a valid rank other than this one.
// Errors: aborted, naming the rank, when a peer is gone (has left,
// was killed, hung up) and nothing of it is left to read.
// Destruction tells the peers that this rank has left; what was written before stays readable there.
#pragma once

#include <cstddef>
#include <span>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"

namespace hvd {

class ByteLanes {
 public:
  virtual ~ByteLanes() = default;

  virtual const char* name() const = 0;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Writes as much of `first`, then `second`, as fits now; the number of bytes taken, 0 if the lane is full.
  virtual Result<std::size_t> write_some(int peer, std::span<const std::byte> first,
                                         std::span<const std::byte> second) = 0;
  // Reads what is there, at most bytes.size() (not 0); 0 if the lane is empty.
  virtual Result<std::size_t> read_some(int peer, std::span<std::byte> bytes) = 0;
  // Whether read_some would give something for any peer.
  virtual Result<bool> any_readable() = 0;

  // Returns when read_some may give something, or news, for one of `readers`, write_some for one of
  // `writers`, a wake() came since the last return of sleep, the deadline has passed; or for no reason.
  virtual Status sleep(std::span<const int> readers, std::span<const int> writers, Deadline deadline) = 0;
  virtual void wake() = 0;

  // Tells the peers that this rank gave up: their calls fail, with the reason where the medium can carry it.
  virtual void hang_up(const Status& why) = 0;
};

}  // namespace hvd
