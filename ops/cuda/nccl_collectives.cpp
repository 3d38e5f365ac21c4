#include "ops/cuda/nccl_collectives.h"

#include <atomic>
#include <utility>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

constexpr auto kPatience = std::chrono::seconds(5);

// The end of an operation, or of the communicator.
class NcclCompletion final : public Event {
 public:
  NcclCompletion(std::shared_ptr<CudaEvent> event, std::shared_ptr<NcclCommunicator> communicator)
      : event_(std::move(event)), communicator_(std::move(communicator)) {}

  Result<bool> is_complete() override {
    if (is_known_complete_.load(std::memory_order_acquire)) return true;
    auto complete = event_->is_complete();
    // After the event: an abort latches first and lets the kernels go then,
    // so a complete event without a latch is genuine.
    HVD_RETURN_IF_ERROR(communicator_->check());
    if (complete.is_ok() && complete.value()) is_known_complete_.store(true, std::memory_order_release);
    return complete;
  }
  Status synchronize(Deadline deadline) override {
    for (Backoff backoff;; backoff.pause()) {
      const auto complete = is_complete();
      if (!complete.is_ok()) {
        communicator_->await_abort();
        return complete.status();
      }
      if (complete.value()) return {};
      if (deadline.passed())
        return Status::timed_out("an NCCL operation was not finished on the device in time");
    }
  }
  void* native_handle() const override { return event_->native_handle(); }

 private:
  std::shared_ptr<CudaEvent> event_;
  std::shared_ptr<NcclCommunicator> communicator_;
  std::atomic<bool> is_known_complete_{false};
};

// NCCL has refused a call or failed: no more of the group.
bool is_failed(ncclResult_t result) { return result != ncclSuccess && result != ncclInProgress; }

// call(slice) for those that are not empty.
template <class Call>
ncclResult_t for_each_slice(std::span<const TensorSlice> slices, const Call& call) {
  for (const TensorSlice& slice : slices) {
    if (slice.count == 0) continue;
    if (const ncclResult_t result = call(slice); is_failed(result)) return result;
  }
  return ncclSuccess;
}

bool is_empty(std::span<const TensorSlice> slices) {
  for (const TensorSlice& slice : slices) {
    if (slice.count > 0) return false;
  }
  return true;
}

}  // namespace

Result<std::unique_ptr<NcclCollectives>> NcclCollectives::connect(std::shared_ptr<const NcclLibrary> nccl,
                                                                  NcclAbility ability,
                                                                  std::shared_ptr<CudaDevice> device,
                                                                  const ncclUniqueId& id, int rank, int size,
                                                                  Deadline deadline) {
  auto communicator = NcclCommunicator::connect(std::move(nccl), device->context(), id, rank, size, deadline);
  if (!communicator.is_ok()) return communicator.status();
  std::unique_ptr<NcclCollectives> out(
      new NcclCollectives(ability, std::move(device), std::move(communicator).value()));
  HVD_RETURN_IF_ERROR(out->communicator_->latch("opening", out->create_stream()));
  return out;
}

Status NcclCollectives::create_stream() {
  auto created = CudaStream::create(device_->context());
  if (!created.is_ok()) return created.status();
  stream_ = std::move(created).value();
  return create_barrier_word();
}

Status NcclCollectives::create_barrier_word() {
  auto word = device_->allocate(sizeof(std::int32_t));
  if (!word.is_ok()) return word.status();
  barrier_word_ = std::move(word).value();
  const CudaContext& cuda = *device_->context();
  const CudaContext::Current current(cuda);
  HVD_RETURN_IF_ERROR(current.status());
  return cuda.check(
      cuda.driver().cuMemsetD32Async(reinterpret_cast<CUdeviceptr>(barrier_word_->data()), 0, 1, stream()),
      "cuMemsetD32Async");
}

NcclCollectives::~NcclCollectives() {
  bool is_idle = stream_ != nullptr && communicator_->check().is_ok();
  if (is_idle) {
    const auto end = stream_->record();
    is_idle = end.is_ok() && NcclCompletion(std::static_pointer_cast<CudaEvent>(end.value()), communicator_)
                                 .synchronize(Deadline::after(kPatience))
                                 .is_ok();
  }
  // Freeing device memory waits for the device: better lost than never to return.
  if (!communicator_->retire(is_idle, kPatience)) static_cast<void>(barrier_word_.release());
}

bool NcclCollectives::supports(OpKind kind, DataType dtype, ReduceOp op) const {
  switch (kind) {
    case OpKind::allreduce:
    case OpKind::reducescatter:
      return nccl_type(dtype, ability_).has_value() && nccl_operation(op, dtype).has_value();
    case OpKind::broadcast:
    case OpKind::barrier:
    case OpKind::allgather:
    case OpKind::alltoall:
      return true;
    default:
      return false;
  }
}

Result<NcclCollectives::Reduction> NcclCollectives::plan(const char* operation, DataType dtype, ReduceOp op,
                                                         double scale) const {
  const auto type = nccl_type(dtype, ability_);
  const auto nccl_op = nccl_operation(op, dtype);
  if (!type || !nccl_op) {
    return Status::unimplemented(text("nccl ", operation, ": no ", name_of(op), " of ", name_of(dtype),
                                      " in NCCL ", nccl_version_name(ability_.version),
                                      " on compute capability ", ability_.compute_capability));
  }
  if (scale == 1.0) return Reduction{*type, *nccl_op, {}};
  const auto scalar = nccl_scalar(scale, dtype);
  if (!scalar || op != ReduceOp::sum) {
    return Status::unimplemented(text("nccl ", operation, ": scale ", scale, " with ", name_of(op), " of ",
                                      name_of(dtype), "; only sums of floating types can be scaled"));
  }
  if (size_in_bytes(dtype) == 1 && scalar->value != scale) {
    return Status::unimplemented(text("nccl ", operation, ": scale ", scale, " is ", scalar->value, " as ",
                                      name_of(dtype), "; use a power of two"));
  }
  return Reduction{*type, *nccl_op, scalar};
}

Status NcclCollectives::submit_reduction(
    const char* operation, Reduction reduction, Deadline deadline,
    const std::function<ncclResult_t(ncclRedOp_t op, ncclComm_t comm)>& calls) {
  const NcclLibrary& nccl = communicator_->nccl();
  if (reduction.scalar) {
    HVD_RETURN_IF_ERROR(communicator_->submit("ncclRedOpCreatePreMulSum", deadline, [&](ncclComm_t comm) {
      return nccl.ncclRedOpCreatePreMulSum(&reduction.op, reduction.scalar->bytes.data(), reduction.type,
                                           ncclScalarHostImmediate, comm);
    }));
  }
  HVD_RETURN_IF_ERROR(communicator_->submit_group(
      operation, deadline, [&](ncclComm_t comm) { return calls(reduction.op, comm); }));
  if (!reduction.scalar) return {};
  return communicator_->submit("ncclRedOpDestroy", deadline,
                               [&](ncclComm_t comm) { return nccl.ncclRedOpDestroy(reduction.op, comm); });
}

Result<Completion> NcclCollectives::allreduce(const AllreduceRequest& request) {
  HVD_RETURN_IF_ERROR(communicator_->check());
  const auto reduction = plan("allreduce", request.dtype, request.op, request.scale);
  if (!reduction.is_ok()) return reduction.status();
  HVD_RETURN_IF_ERROR(wait_for_inputs("allreduce", request.slices));
  if (is_empty(request.slices)) return Completion();
  const NcclLibrary& nccl = communicator_->nccl();
  HVD_RETURN_IF_ERROR(submit_reduction(
      "allreduce", reduction.value(), request.deadline, [&](ncclRedOp_t op, ncclComm_t comm) {
        return for_each_slice(request.slices, [&](const TensorSlice& slice) {
          return nccl.ncclAllReduce(slice.input, slice.output, slice.count, reduction.value().type, op, comm,
                                    stream());
        });
      }));
  return finish("allreduce");
}

Result<Completion> NcclCollectives::broadcast(const BroadcastRequest& request) {
  HVD_RETURN_IF_ERROR(communicator_->check());
  if (request.root < 0 || request.root >= communicator_->size()) {
    return Status::invalid_argument(
        text("nccl broadcast: root ", request.root, " is not a rank of ", communicator_->size()));
  }
  HVD_RETURN_IF_ERROR(wait_for_inputs("broadcast", request.slices));
  if (is_empty(request.slices)) return Completion();
  const NcclLibrary& nccl = communicator_->nccl();
  const NcclMoveType move = nccl_move_type(request.dtype);
  HVD_RETURN_IF_ERROR(communicator_->submit_group("broadcast", request.deadline, [&](ncclComm_t comm) {
    return for_each_slice(request.slices, [&](const TensorSlice& slice) {
      return nccl.ncclBroadcast(slice.input, slice.output, slice.count * move.elements, move.type,
                                request.root, comm, stream());
    });
  }));
  return finish("broadcast");
}

Status NcclCollectives::barrier(Deadline deadline) {
  HVD_RETURN_IF_ERROR(communicator_->check());
  const TensorSlice word{barrier_word_->data(), barrier_word_->data(), 1, nullptr};
  const auto end = allreduce({.slices = {&word, 1}, .dtype = DataType::int32, .deadline = deadline});
  if (!end.is_ok()) return end.status();
  return communicator_->latch("barrier", end.value()->synchronize(deadline));
}

Status NcclCollectives::wait_for_input(const char* operation, const Event* ready) {
  return ready == nullptr ? Status() : communicator_->latch(operation, stream_->wait(*ready));
}

Status NcclCollectives::wait_for_inputs(const char* operation, std::span<const TensorSlice> slices) {
  const Event* last = nullptr;
  for (const TensorSlice& slice : slices) {
    if (slice.ready == nullptr || slice.ready == last) continue;
    HVD_RETURN_IF_ERROR(wait_for_input(operation, slice.ready));
    last = slice.ready;
  }
  return {};
}

Result<Completion> NcclCollectives::finish(const char* operation) {
  auto event = CudaEvent::record(device_->context(), static_cast<CUstream>(stream_->native_handle()));
  if (!event.is_ok()) {
    const Status status = communicator_->latch(operation, event.status());
    communicator_->await_abort();
    return status;
  }
  return Completion(std::make_shared<NcclCompletion>(std::move(event).value(), communicator_));
}

}  // namespace hvd
