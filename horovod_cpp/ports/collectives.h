// Collectives [port]: reduces and moves tensors between the ranks of one Session. One implementation a backend (ops/*).
//
// All ranks call the same operations in the same order with matching arguments: the coordinator has seen to that, an
// implementation need not check it.
// Threading: operations belong to one thread at a time (the coordinator's); abort may be called from any thread, never blocks.
// Errors: a failed Status means that the world failed: contents of outputs are unspecified, every later call returns the same.
// After an operation returns on host memory, it is complete. On a device it is enqueued, and the returned Event is its end.
// tests/conformance/collectives_suite.h holds what every implementation must do.
#pragma once

#include <memory>
#include <span>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/types.h"
#include "horovod_cpp/ports/device.h"
#include "horovod_cpp/ports/registered_memory.h"

namespace hvd {

// One tensor of a fused operation: contiguous elements. input and output may be the same address, and may not overlap otherwise.
// Not owned: both stay valid until the operation is complete.
struct TensorSlice {
  const void* input = nullptr;
  void* output = nullptr;
  std::size_t count = 0;         // elements; may be 0
  const Event* ready = nullptr;  // device memory: input may be read after this; nullptr on the host
};

// Sum, min, max or product over ranks of many tensors of one type at once.
struct AllreduceRequest {
  std::span<const TensorSlice> slices;
  DataType dtype = DataType::float32;
  ReduceOp op = ReduceOp::sum;  // never average: the planner has turned it into sum with a scale
  // The result is scale × op over ranks of the inputs. Floating types multiply before rounding to dtype (16-bit and fp8 types
  // accumulate in float32). Integers: only 1.
  double scale = 1.0;
  Deadline deadline = Deadline::never();
};

// Outputs on every rank become the inputs of `root`. On `root` input and output may be the same address.
struct BroadcastRequest {
  std::span<const TensorSlice> slices;
  DataType dtype = DataType::float32;
  int root = 0;
  Deadline deadline = Deadline::never();
};

// The ranks' tensors, one after another, on every rank. Ranks may contribute different amounts, also nothing.
struct AllgatherRequest {
  const void* input = nullptr;          // counts[own rank] elements; may lie at its own place in the output,
  void* output = nullptr;               // sum of counts;             and not overlap it otherwise
  std::span<const std::size_t> counts;  // counts[r]: elements from rank r; the same on every rank
  DataType dtype = DataType::float32;
  const Event* ready = nullptr;  // as in TensorSlice, also below
  Deadline deadline = Deadline::never();
};

// Every rank sends a part of its tensor to each rank. Parts lie one after another, in the order of ranks. Input and output do not overlap.
struct AlltoallRequest {
  const void* input = nullptr;
  void* output = nullptr;
  std::span<const std::size_t> send_counts;  // [r]: elements for rank r, which receives as many from this one
  std::span<const std::size_t> receive_counts;  // [r]: elements from rank r
  DataType dtype = DataType::float32;
  const Event* ready = nullptr;
  Deadline deadline = Deadline::never();
};

// As an allreduce of the whole input, of which every rank gets its part only. Parts lie one after another, in the order of ranks. Input and
// output do not overlap. The bits are those of the allreduce.
struct ReducescatterRequest {
  const void* input = nullptr;          // sum of counts
  void* output = nullptr;               // counts[own rank]
  std::span<const std::size_t> counts;  // [r]: elements that rank r gets; the same on every rank
  DataType dtype = DataType::float32;
  ReduceOp op = ReduceOp::sum;  // as in AllreduceRequest
  double scale = 1.0;
  const Event* ready = nullptr;
  Deadline deadline = Deadline::never();
};

// The end of an operation: nullptr if it is complete already.
using Completion = std::shared_ptr<Event>;

class Collectives {
 public:
  virtual ~Collectives() = default;

  virtual const char* name() const = 0;  // "shm", "ring", "mpi", "nccl"
  virtual DeviceType device_type() const = 0;
  // Whether the operation exists for this type. The same answer on every rank.
  virtual bool supports(OpKind kind, DataType dtype, ReduceOp op) const = 0;

  virtual Result<Completion> allreduce(const AllreduceRequest& request) = 0;
  virtual Result<Completion> broadcast(const BroadcastRequest& request) = 0;
  virtual Result<Completion> allgather(const AllgatherRequest& request) = 0;
  virtual Result<Completion> alltoall(const AlltoallRequest& request) = 0;
  virtual Result<Completion> reducescatter(const ReducescatterRequest& request) = 0;
  virtual Status barrier(Deadline deadline) = 0;

  // The same backend among some ranks only, with a channel (boards, communicator, …) of its own: rank i of it is members[i] of this
  // one. Called by all ranks of this one, with the same members (ascending, at least one); those that are not among them get nullptr.
  // The result may refer to this one, which must outlive it. Operations of both, and of several subgroups, are never under way at once
  // on a rank: every rank calls them in the same order as far as they concern it. abort() does not reach subgroups.
  virtual Result<std::unique_ptr<Collectives>> subgroup(std::span<const int> members, Deadline deadline) = 0;

  // Whether the one thread that calls may be another one each time.
  virtual bool may_change_threads() const { return false; }

  // Memory of `bytes` on each rank, the same number on all, zeroed, that is reduced where it lies. Collective. unimplemented (the default), or
  // unavailable on all ranks if one has not the memory: the backend goes on.
  virtual Result<std::unique_ptr<RegisteredMemory>> share_memory(std::size_t bytes, Deadline deadline);

  // Ends the current and every later call of this rank with `why`. The first call wins.
  virtual void abort(const Status& why) = 0;
};

inline Result<std::unique_ptr<RegisteredMemory>> Collectives::share_memory(std::size_t, Deadline) {
  return Status::unimplemented("this backend reduces no registered memory");
}

}  // namespace hvd
