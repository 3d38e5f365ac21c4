// How a rank meets the others of its job at the launcher's RendezvousServer.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/wire.h"

namespace hvd {

// The launcher's line to ranks that have met and connect to each other: it says when one of them ends before it is connected. One thread
// at a time.
class LossLine {
 public:
  LossLine();  // says nothing
  LossLine(LossLine&&) noexcept;
  LossLine& operator=(LossLine&&) noexcept;
  ~LossLine();

  // Readable when there may be something to hear; -1: nothing will be heard.
  int fd() const;
  // aborted: the process of a rank has ended, and which. ok: nothing is known.
  Status check();

  class Body;
  explicit LossLine(std::unique_ptr<Body> body);

 private:
  std::unique_ptr<Body> body_;
};

// Who has met: ascending numbers, as the job was started with, and what each brought.
struct Company {
  std::vector<int> ranks;
  std::vector<Bytes> payloads;  // payloads[i] is of ranks[i]
  LossLine line;                // to be kept until the ranks are connected
};

// Called at most once: whom this rank, the lowest that waits, still misses after a third of the time until the deadline.
using MeetingRemark = std::function<void(const std::string&)>;

// Blocks until all ranks of the job have come; `mine` has at most 1 MiB. Can be called again: the ranks meet in a new round.
// Those that the launcher knows to have ended are not waited for if the job may lose ranks (hvdrun --min-np); nor, with `after_loss`, are
// those who live but do not come in the time that the launcher grants.
// `address` may name a host. `rank` and `size` are always those that the job was started with. Any thread. A server that does not listen yet is tried again until
// the deadline. Over TLS 1.3, keyed with the job key, which is not sent.
// Errors: invalid_argument, unavailable: the server refused, with its reason; timed_out: which ranks had come
// and which were missing; shut_down: the process of a rank that is waited for has ended, which one; aborted: the server went away, or this
// process has no descriptor for a socket.
Result<Company> rendezvous(const std::string& address, const std::string& job_key, int rank, int size,
                           std::span<const std::byte> mine, Deadline deadline, bool after_loss = false,
                           const MeetingRemark& say = {});

}  // namespace hvd
