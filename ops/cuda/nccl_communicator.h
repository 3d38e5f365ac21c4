// An ncclComm_t that never blocks its user and is ended exactly once, whatever happens.
//
// The communicator is non-blocking: every call of NCCL returns at once, and we look (ncclCommGetAsyncError)
// until it says done, failed, or the deadline passes.
// Threading: submit and retire belong to one thread at a time; the rest may be called from any thread and
// never blocks. NCCL allows one call at a time on a communicator: a mutex sees to it, held for the length of
// a call, not of a wait. ncclCommAbort may block (it waits for kernels and joins threads), so abort() hands
// it to a thread that lives as long as it takes; without it a GPU whose peer died would spin for ever.
// Ownership: shared by the collectives, their completions and that thread.
// Errors: the first failure latches; every later call returns it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "horovod_cpp/base/abort_latch.h"
#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"
#include "ops/cuda/cuda_context.h"
#include "ops/cuda/nccl_library.h"

namespace hvd {

class NcclCommunicator : public std::enable_shared_from_this<NcclCommunicator> {
 public:
  // Collective over the ranks that hold `id`.
  static Result<std::shared_ptr<NcclCommunicator>> connect(std::shared_ptr<const NcclLibrary> nccl,
                                                           std::shared_ptr<CudaContext> context,
                                                           const ncclUniqueId& id, int rank, int size,
                                                           Deadline deadline);
  ~NcclCommunicator() = default;
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  const NcclLibrary& nccl() const { return *nccl_; }
  int rank() const { return rank_; }
  int size() const { return size_; }

  // A communicator among `members`, ranks of this one in ascending order; nullptr on the others. Collective over this one, on which
  // no operation may be under way on any rank.
  Result<std::shared_ptr<NcclCommunicator>> split(std::span<const int> members, Deadline deadline);

  // Runs `calls` with the communicator and waits until NCCL has taken them in:
  // what is put on the stream afterwards comes after them. A failure, also of
  // the deadline, latches: nobody knows what the other ranks have seen. It is
  // returned when NCCL has let go of the memory in `calls` (await_abort).
  Status submit(const char* operation, Deadline deadline,
                const std::function<ncclResult_t(ncclComm_t)>& calls);
  // The same for calls that NCCL is to see at once, one group. It is closed whatever happens in it.
  Status submit_group(const char* operation, Deadline deadline,
                      const std::function<ncclResult_t(ncclComm_t)>& calls);
  // Latches what another part of an operation (a stream, an event) reports. ok stays ok.
  Status latch(const char* operation, const Status& status);

  // ok, or what ended the communicator; looks whether NCCL has found an error by itself.
  Status check();
  void abort(const Status& why);
  // Returns at once unless a failure has latched. Waits until NCCL is through with the abort, which is when it neither puts operations on
  // the stream any more nor runs them, so that their memory may be freed or used for something else. Gives up after some
  // seconds, once for all callers.
  void await_abort();

  // Ends the communicator: together with the other ranks within `patience` if it is healthy and `is_idle`
  // (nothing of it runs on the device), else by ncclCommAbort, which gets `patience` too. false: it is not
  // over, goes on without us, and may hold the device.
  bool retire(bool is_idle, std::chrono::seconds patience);

 private:
  NcclCommunicator(std::shared_ptr<const NcclLibrary> nccl, std::shared_ptr<CudaContext> context, int rank,
                   int size);

  Status take_in(const char* operation, Deadline deadline,
                 const std::function<ncclResult_t(ncclComm_t)>& calls);
  Status call(const char* operation, const std::function<ncclResult_t(ncclComm_t)>& calls, bool& in_progress);
  Status failure(const char* operation, ncclResult_t result) const;
  std::string place() const;
  void abort_in_thread();
  void abort_now();

  const std::shared_ptr<const NcclLibrary> nccl_;
  const std::shared_ptr<CudaContext> context_;
  const int rank_;
  const int size_;

  AbortLatch latch_;
  std::shared_ptr<NcclCommunicator> child_;  // of a split that has not ended: NCCL may yet write to it
  std::mutex mutex_;                         // guards comm_ and every NCCL call on it
  ncclComm_t comm_ = nullptr;                // nullptr once ended or given to the aborting thread
  std::condition_variable abort_ended_;
  // Keeps the aborting thread until it is detached: were it over by then, its memory would be freed by the thread that
  // detaches it, which ThreadSanitizer takes for a race (glibc orders the two where it does not look).
  std::mutex detaching_;
  bool is_aborting_ = false;       // guarded by mutex_
  bool is_abort_overdue_ = false;  // guarded by mutex_
};

}  // namespace hvd
