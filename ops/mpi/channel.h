// Channel: a communicator that nobody else uses, and how to wait on it with a deadline.
//
// Threading: abort, notify and status from any thread, the rest from one thread at a time.
// Errors: the first failure is kept. A failure that leaves an
// MPI operation unfinished gives MPI up for the whole process.
// Memory: MPI may go on with such an operation for as long as anybody in the process calls MPI, so it is only given memory of the
// channel (staging) or what is kept for ever, never the caller's.
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

class Channel {
 public:
  // A duplicate of MPI_COMM_WORLD. Collective over it.
  static Result<std::unique_ptr<Channel>> open(Runtime& runtime, Deadline deadline);
  // A channel among `members`, ranks of this one in ascending order; nullptr on the others. Collective over this channel.
  // MPI-3.1 makes such a communicator by blocking calls only: `deadline` is for all ranks to come here. After that nobody is waited
  // for but ranks that are inside the same call.
  Result<std::unique_ptr<Channel>> split(std::span<const int> members, Deadline deadline);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  Runtime& runtime() { return runtime_; }
  MPI_Comm communicator() const { return communicator_; }
  int rank() const { return rank_; }
  int size() const { return size_; }
  const Doorbell& bell() const { return bell_; }

  // At least `bytes` of memory for MPI to read and write, aligned for every element type. Until the next call; contents undefined.
  std::byte* staging(std::size_t bytes);

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
  Status wait(MPI_Request& request, Deadline deadline, const char* operation);
  // Until all `requests` are finished. `statuses` has as many entries, or none if nobody asks.
  Status wait_all(std::span<MPI_Request> requests, std::vector<MPI_Status>* statuses, Deadline deadline,
                  const char* operation);
  Status barrier(Deadline deadline, const char* operation);

 private:
  explicit Channel(Runtime& runtime) : runtime_(runtime), rank_(runtime.rank()), size_(runtime.size()) {}
  // Takes over a communicator.
  Status adopt(MPI_Comm communicator, const char* operation);
  Status late(const char* operation) const;

  Runtime& runtime_;
  MPI_Comm communicator_ = MPI_COMM_NULL;
  int rank_;
  int size_;
  std::shared_ptr<std::vector<std::byte>> staging_ = std::make_shared<std::vector<std::byte>>();
  Doorbell bell_;
  AbortLatch latch_;
};

}  // namespace hvd::mpi
