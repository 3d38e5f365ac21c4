// Transport [port]: moves bytes between the ranks of one Session. Knows nothing of tensors.
//
// Threading: exchange, all_gather and wait belong to one thread at a time (the coordinator's); notify and abort may be called
// from any thread at any time and never block. Every blocking call returns by its deadline.
// Order: between two ranks, messages arrive in the order in which they were sent. All ranks call the
// collective operations in the same order.
// Errors: the first failure (abort, lost peer) is kept; every later call returns it at once.
// tests/conformance/transport_suite.h holds what every implementation must do.
#pragma once

#include <span>
#include <vector>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/wire.h"

namespace hvd {

class Transport {
 public:
  virtual ~Transport() = default;

  virtual const char* name() const = 0;  // "shm", "tcp", "inproc", "mpi"
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Sends `send` to rank `to` while receiving exactly receive.size() bytes from rank `from`. Both directions make progress at
  // once, so exchanges around a ring cannot deadlock, whatever their length. Either span may be empty: then nothing moves in
  // that direction. The peer's matching call must name the same length. `to` and `from` are not this rank.
  virtual Status exchange(int to, std::span<const std::byte> send, int from, std::span<std::byte> receive,
                          Deadline deadline) = 0;

  // Every rank contributes `mine` (any length, also empty); afterwards all[r] is rank r's contribution, on every rank.
  virtual Status all_gather(std::span<const std::byte> mine, std::vector<Bytes>& all, Deadline deadline) = 0;

  // Sleeps without using the processor until a peer has begun an all_gather that this rank has not joined (returns true), or
  // until notify() or the deadline (returns false). A notify() that comes while nobody waits ends the next wait.
  virtual Result<bool> wait(Deadline deadline) = 0;

  // Ends the current or next wait().
  virtual void notify() = 0;

  // Whether that one thread may be another one each time.
  virtual bool may_change_threads() const { return false; }

  // Ends every current and later call of this rank with `why`. The first call wins.
  virtual void abort(const Status& why) = 0;
};

}  // namespace hvd
