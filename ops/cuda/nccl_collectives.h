// Collectives by NCCL on tensors in CUDA memory. Contract: ports/collectives.h.
//
// Tensors are reduced where they are: the slices of a request become one NCCL group,
// nothing is packed. Everything goes to one stream of the highest priority, in the order
// of the calls; that stream waits for the `ready` event of each slice, and the Completion
// is an event on it. The host blocks in barrier only. A scaled sum is NCCL's premultiplied
// sum: each input is multiplied by the scale, rounded to dtype, before it is added.
// A subgroup has a communicator of its own (ncclCommSplit) on the same stream. reducescatter with different counts is a group of
// ncclReduce, allgather one of ncclBroadcast.
// Numbers: NCCL adds 16-bit and fp8 types in their own precision on some devices and algorithms, so results
// of those are not as exact as this port promises elsewhere, and a reducescatter may add in another order than an allreduce. fp8 takes only scales that fp8 holds exactly
// (powers of two): unimplemented otherwise.
// Completion: synchronize and is_complete return what ended the communicator, also when NCCL finds a lost
// peer by itself. When an operation or synchronize has returned an error, NCCL no longer touches the tensors (it has
// aborted; that is given some seconds). is_complete does not wait for that: after an error from it, and where those
// seconds were not enough, the device may go on writing outputs until the destructor has returned.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "horovod_cpp/ports/collectives.h"
#include "horovod_cpp/ports/transport.h"
#include "ops/cuda/cuda_device.h"
#include "ops/cuda/cuda_stream.h"
#include "ops/cuda/nccl_communicator.h"
#include "ops/cuda/nccl_types.h"

namespace hvd {

class NcclCollectives final : public Collectives {
 public:
  // Collective over the ranks of `bootstrap`, which is used during the call only. All ranks succeed or all
  // fail; the Status names the rank that could not.
  static Result<std::unique_ptr<NcclCollectives>> open(Transport& bootstrap,
                                                       std::shared_ptr<CudaDevice> device, Deadline deadline);
  // Waits a few seconds at most for the other ranks to end too.
  ~NcclCollectives() override;

  const char* name() const override { return "nccl"; }
  DeviceType device_type() const override { return DeviceType::cuda; }
  bool supports(OpKind kind, DataType dtype, ReduceOp op) const override;
  Result<Completion> allreduce(const AllreduceRequest& request) override;
  Result<Completion> broadcast(const BroadcastRequest& request) override;
  Result<Completion> allgather(const AllgatherRequest& request) override;
  Result<Completion> alltoall(const AlltoallRequest& request) override;
  Result<Completion> reducescatter(const ReducescatterRequest& request) override;
  Result<std::unique_ptr<Collectives>> subgroup(std::span<const int> members, Deadline deadline) override;
  Status barrier(Deadline deadline) override;
  void abort(const Status& why) override { communicator_->abort(why); }

 private:
  NcclCollectives(NcclAbility ability, std::shared_ptr<CudaDevice> device,
                  std::shared_ptr<NcclCommunicator> communicator)
      : ability_(ability), device_(std::move(device)), communicator_(std::move(communicator)) {}

  static Result<std::unique_ptr<NcclCollectives>> connect(std::shared_ptr<const NcclLibrary> nccl,
                                                          NcclAbility ability,
                                                          std::shared_ptr<CudaDevice> device,
                                                          const ncclUniqueId& id, int rank, int size,
                                                          Deadline deadline);
  // One count a rank.
  Status check_counts(const char* operation, std::size_t got) const;
  Status create_stream();
  Status create_barrier_word();
  // How a reduction is put to NCCL.
  struct Reduction {
    ncclDataType_t type;
    ncclRedOp_t op;
    std::optional<NcclScalar> scalar;  // of a premultiplied sum
  };
  // unimplemented says what NCCL cannot do.
  Result<Reduction> plan(const char* operation, DataType dtype, ReduceOp op, double scale) const;
  // submit_group with the operation to reduce by.
  Status submit_reduction(const char* operation, Reduction reduction, Deadline deadline,
                          const std::function<ncclResult_t(ncclRedOp_t op, ncclComm_t comm)>& calls);
  Status wait_for_input(const char* operation, const Event* ready);
  Status wait_for_inputs(const char* operation, std::span<const TensorSlice> slices);
  Result<Completion> finish(const char* operation);
  cudaStream_t stream() const { return static_cast<cudaStream_t>(stream_->native_handle()); }

  NcclAbility ability_;
  std::shared_ptr<CudaDevice> device_;
  std::shared_ptr<NcclCommunicator> communicator_;
  std::shared_ptr<CudaStream> stream_;  // shared with subgroups: one order of launches over all communicators
  std::unique_ptr<DeviceMemory> barrier_word_;
};

}  // namespace hvd
