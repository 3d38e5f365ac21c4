#include "ops/cuda/nccl_communicator.h"

#include <algorithm>
#include <system_error>
#include <thread>
#include <utility>

#include "horovod_cpp/base/text.h"
#include "ops/cuda/cuda_stream.h"

namespace hvd {
namespace {

constexpr auto kPatienceWithAbort = std::chrono::seconds(5);

}  // namespace

NcclCommunicator::NcclCommunicator(std::shared_ptr<const NcclLibrary> nccl,
                                   std::shared_ptr<CudaContext> context, int rank, int size)
    : nccl_(std::move(nccl)), context_(std::move(context)), rank_(rank), size_(size) {}

Result<std::shared_ptr<NcclCommunicator>> NcclCommunicator::connect(std::shared_ptr<const NcclLibrary> nccl,
                                                                    std::shared_ptr<CudaContext> context,
                                                                    const ncclUniqueId& id, int rank,
                                                                    int size, Deadline deadline) {
  std::shared_ptr<NcclCommunicator> out(
      new NcclCommunicator(std::move(nccl), std::move(context), rank, size));
  HVD_RETURN_IF_ERROR(out->take_in("ncclCommInitRankConfig", deadline, [&](ncclComm_t) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    return out->nccl_->ncclCommInitRankConfig(&out->comm_, size, id, rank, &config);
  }));
  return out;
}

Result<std::shared_ptr<NcclCommunicator>> NcclCommunicator::split(std::span<const int> members,
                                                                  Deadline deadline) {
  const auto place = std::lower_bound(members.begin(), members.end(), rank_);
  const bool is_member = place != members.end() && *place == rank_;
  child_.reset(new NcclCommunicator(nccl_, context_, static_cast<int>(place - members.begin()),
                                    static_cast<int>(members.size())));
  HVD_RETURN_IF_ERROR(take_in("ncclCommSplit", deadline, [&](ncclComm_t comm) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    return nccl_->ncclCommSplit(comm, is_member ? 0 : NCCL_SPLIT_NOCOLOR, rank_, &child_->comm_, &config);
  }));
  auto child = std::exchange(child_, nullptr);
  if (!is_member) return std::shared_ptr<NcclCommunicator>();
  // The parent is done with it; the new one may not be ready yet.
  HVD_RETURN_IF_ERROR(child->take_in("ncclCommSplit", deadline, [](ncclComm_t) { return ncclSuccess; }));
  return child;
}

Status NcclCommunicator::submit_group(const char* operation, Deadline deadline,
                                      const std::function<ncclResult_t(ncclComm_t)>& calls) {
  return submit(operation, deadline, [&](ncclComm_t comm) {
    const ncclResult_t begun = nccl_->ncclGroupStart();
    if (begun != ncclSuccess) return begun;
    const ncclResult_t result = calls(comm);
    const ncclResult_t end = nccl_->ncclGroupEnd();
    return result != ncclSuccess && result != ncclInProgress ? result : end;
  });
}

// A non-blocking communicator puts operations on the stream from a thread of NCCL's, also while we turn away because
// somebody aborts or the deadline has passed. Only the end of the abort says that none will follow.
Status NcclCommunicator::submit(const char* operation, Deadline deadline,
                                const std::function<ncclResult_t(ncclComm_t)>& calls) {
  const Status status = take_in(operation, deadline, calls);
  if (!status.is_ok()) await_abort();
  return status;
}

Status NcclCommunicator::take_in(const char* operation, Deadline deadline,
                                 const std::function<ncclResult_t(ncclComm_t)>& calls) {
  bool in_progress = false;
  HVD_RETURN_IF_ERROR(latch(operation, call(operation, calls, in_progress)));
  for (Backoff backoff; in_progress; backoff.pause()) {
    if (deadline.passed()) {
      return latch(operation, Status::timed_out("NCCL was not ready in time; is a rank missing or dead?"));
    }
    HVD_RETURN_IF_ERROR(latch(operation, call(operation, {}, in_progress)));
  }
  return {};
}

// Runs `calls`, if there are any, then looks at the communicator's state.
Status NcclCommunicator::call(const char* operation, const std::function<ncclResult_t(ncclComm_t)>& calls,
                              bool& in_progress) {
  const std::lock_guard lock(mutex_);
  HVD_RETURN_IF_ERROR(latch_.status());
  const CudaContext::Current current(*context_);
  HVD_RETURN_IF_ERROR(current.status());
  if (calls) {
    const ncclResult_t result = calls(comm_);
    if (result != ncclSuccess && result != ncclInProgress) return failure(operation, result);
  }
  ncclResult_t state = ncclSuccess;
  if (comm_ != nullptr) {
    const ncclResult_t result = nccl_->ncclCommGetAsyncError(comm_, &state);
    if (result != ncclSuccess) return failure("ncclCommGetAsyncError", result);
  }
  in_progress = state == ncclInProgress;
  if (state != ncclSuccess && !in_progress) return failure(operation, state);
  return {};
}

Status NcclCommunicator::failure(const char* operation, ncclResult_t result) const {
  const char* last = nccl_->ncclGetLastError(comm_);
  return Status::aborted(text(operation, ": ", nccl_->words_for(result),
                              last == nullptr || *last == '\0' ? "" : ": ", last == nullptr ? "" : last,
                              " (NCCL_DEBUG=INFO tells more)"));
}

Status NcclCommunicator::latch(const char* operation, const Status& status) {
  if (status.is_ok()) return {};
  if (Status first = latch_.status(); !first.is_ok()) return first;
  abort(status.with_prefix(text(place(), ", ", operation, ": ")));
  return latch_.status();
}

std::string NcclCommunicator::place() const {
  return text("rank ", rank_, " of ", size_, " on cuda:", context_->index());
}

Status NcclCommunicator::check() {
  HVD_RETURN_IF_ERROR(latch_.status());
  ncclResult_t state = ncclSuccess;
  Status status;
  {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    // Somebody else is in a call and looks afterwards.
    if (!lock.owns_lock() || comm_ == nullptr) return latch_.status();
    const ncclResult_t result = nccl_->ncclCommGetAsyncError(comm_, &state);
    if (result != ncclSuccess) state = result;
    if (state != ncclSuccess && state != ncclInProgress)
      status = failure("an operation on the device", state);
  }
  return latch("waiting", status);
}

void NcclCommunicator::abort(const Status& why) {
  if (latch_.set(why)) abort_in_thread();
}

void NcclCommunicator::abort_in_thread() {
  try {
    const std::lock_guard lock(detaching_);
    std::thread([self = shared_from_this()] {
      {
        const std::lock_guard until_detached(self->detaching_);
      }
      self->abort_now();
    }).detach();
  } catch (const std::system_error&) {
    // No thread to be had. The latch ends every wait of ours; the communicator stays behind.
    const std::lock_guard lock(mutex_);
    is_abort_overdue_ = true;
    abort_ended_.notify_all();
  }
}

void NcclCommunicator::abort_now() {
  ncclComm_t comm = nullptr;
  {
    const std::lock_guard lock(mutex_);
    comm = std::exchange(comm_, nullptr);
    if (comm == nullptr) return;
    is_aborting_ = true;
  }
  {
    const CudaContext::Current current(*context_);
    nccl_->ncclCommAbort(comm);
  }
  const std::lock_guard lock(mutex_);
  is_aborting_ = false;
  abort_ended_.notify_all();
}

void NcclCommunicator::await_abort() {
  if (latch_.status().is_ok()) return;
  std::unique_lock lock(mutex_);
  const bool is_over = abort_ended_.wait_for(
      lock, kPatienceWithAbort, [&] { return is_abort_overdue_ || (comm_ == nullptr && !is_aborting_); });
  if (!is_over) is_abort_overdue_ = true;
}

bool NcclCommunicator::retire(bool is_idle, std::chrono::seconds patience) {
  if (is_idle && latch_.status().is_ok() &&
      take_in("ncclCommFinalize", Deadline::after(patience), [&](ncclComm_t comm) {
        return nccl_->ncclCommFinalize(comm);
      }).is_ok()) {
    const std::lock_guard lock(mutex_);
    const CudaContext::Current current(*context_);
    // Finalized: this frees memory and waits for nobody.
    if (comm_ != nullptr) nccl_->ncclCommDestroy(std::exchange(comm_, nullptr));
    return true;
  }
  abort(Status::shut_down(text(place(), ": the NCCL communicator was closed")));
  std::unique_lock lock(mutex_);
  return abort_ended_.wait_for(lock, patience, [&] { return comm_ == nullptr && !is_aborting_; });
}

}  // namespace hvd
