// Channel: a duplicate of MPI_COMM_WORLD that nobody else uses, and how to wait on it with a deadline.
//
// Threading: abort, notify and status from any thread, the rest from one thread at a time.
// Errors: the first failure is kept. A failure that leaves an
// MPI operation unfinished gives MPI up for the whole process.
#pragma once

#include <mpi.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "horovod_cpp/base/abort_latch.h"
#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"
#include "ops/mpi/backoff.h"
#include "ops/mpi/mpi_runtime.h"

namespace hvd::mpi {

// MPI counts are int: longer things move in pieces of this many bytes or elements.
inline constexpr std::size_t kLongestPiece = std::size_t{1} << 30;

class Channel {
 public:
  // Collective over MPI_COMM_WORLD.
  static Result<std::unique_ptr<Channel>> open(Runtime& runtime, Deadline deadline);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  Runtime& runtime() { return runtime_; }
  MPI_Comm communicator() const { return communicator_; }
  int rank() const { return runtime_.rank(); }
  int size() const { return runtime_.size(); }
  const Doorbell& bell() const { return bell_; }

  void abort(const Status& why);
  void notify() { bell_.ring(); }

  // ok, or what ended this channel.
  Status status() const;
  // ok, or the failure `code` of `call` during `operation`, which is kept.
  Status check(int code, const char* call, const char* operation);
  // Keeps `why` and gives MPI up: `operation` has left something unfinished.
  Status fail(const Status& why, const char* operation);

  // Polls `test(&finished)`, which makes an MPI call and returns its code, until it is finished.
  template <class Test>
  Status wait_until(Test&& test, Deadline deadline, const char* operation) {
    Backoff backoff(Awaiting::completion, runtime_.ranks_on_host());
    for (;;) {
      const auto seen = bell_.rings();
      int finished = 0;
      HVD_RETURN_IF_ERROR(check(test(&finished), "MPI_Test", operation));
      if (finished != 0) return {};
      if (const Status ended = status(); !ended.is_ok()) return fail(ended, operation);
      if (deadline.passed()) return fail(late(operation), operation);
      backoff.pause(bell_, seen, deadline);
    }
  }
  // Until all `requests` are finished. `statuses` has as many entries, or none if nobody asks.
  Status wait_all(std::span<MPI_Request> requests, std::vector<MPI_Status>* statuses, Deadline deadline,
                  const char* operation);

 private:
  explicit Channel(Runtime& runtime) : runtime_(runtime) {}
  Status late(const char* operation) const;

  Runtime& runtime_;
  MPI_Comm communicator_ = MPI_COMM_NULL;
  Doorbell bell_;
  AbortLatch latch_;
};

}  // namespace hvd::mpi
