// Reductions and broadcasts of tensors between all ranks.
//
//   torch::Tensor mean = hvd::allreduce(loss);                            // a new tensor
//   hvd::allreduce_(statistics, {.name = "statistics", .op = hvd::Sum});  // in place
//   auto handle = hvd::allreduce_async_(big); … handle.wait();            // while something else is computed
//   hvd::broadcast_(weights, 0);                                          // everybody gets rank 0's
//
// Tensors: dense, on the CPU or on a CUDA device that the Session has a backend for; any strides, also 0-d
// and empty; uint8, int8, uint16, int16, int32, int64, uint32, uint64, float16, bfloat16, float32, float64,
// bool, float8_e4m3fn, float8_e5m2. All ranks pass the same shape, type and options; otherwise every rank
// gets a MismatchError that names tensor, ranks and values.
// Average of integers: the sum (which wraps, as integers do) divided by the number of ranks, rounded towards
// zero, as Horovod does. Average of bool is refused: use Max (any rank) or Min (all ranks). prescale and
// postscale are for floating types.
// Autograd: values only; the result never requires a gradient. An in-place operation counts as a
// modification, so autograd refuses a backward that needed the old values.
// Names: operations may be submitted in any order, ranks find each other's
// by name. Unnamed ones are numbered, so all ranks must call those in the
// same order. A name may be used again once its operation was waited for.
// Threading: every function may be called from any thread; a Handle belongs to one thread at a time.
// Errors: errors.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/types.h"
#include "horovod_cpp/torch/context.h"

namespace hvd {

inline constexpr ReduceOp Average = ReduceOp::average;
inline constexpr ReduceOp Sum = ReduceOp::sum;
inline constexpr ReduceOp Min = ReduceOp::min;
inline constexpr ReduceOp Max = ReduceOp::max;
inline constexpr ReduceOp Product = ReduceOp::product;

struct AllreduceOptions {
  std::string name = {};  // empty: numbered
  ReduceOp op = Average;
  double prescale = 1.0;                       // each rank's values are multiplied by this …
  double postscale = 1.0;                      // … and the result by this
  std::shared_ptr<Context> context = nullptr;  // nullptr: the process's own, of hvd::init()
};

struct BroadcastOptions {
  std::string name = {};
  std::shared_ptr<Context> context = nullptr;
};

// An operation that goes on. Copies are the same operation. The tensors it works on stay alive until it is
// done, but an in-place result is only certain to be in place after wait().
class Handle {
 public:
  // True if wait() would not sleep.
  bool done() const;
  // Sleeps until the operation is done or the deadline has passed; true if it is done.
  bool wait_until(Deadline deadline) const;
  // Sleeps until the operation is done and returns its result.
  // Throws what ended it; a further call returns the same result.
  at::Tensor wait();

 private:
  friend class Operation;
  struct State;
  explicit Handle(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

at::Tensor allreduce(const at::Tensor& tensor, const AllreduceOptions& options = {});
at::Tensor allreduce_(const at::Tensor& tensor, const AllreduceOptions& options = {});
Handle allreduce_async(const at::Tensor& tensor, const AllreduceOptions& options = {});
Handle allreduce_async_(const at::Tensor& tensor, const AllreduceOptions& options = {});

// Everybody gets the values of rank `root`. On `root` the tensor is only read.
at::Tensor broadcast(const at::Tensor& tensor, int root, const BroadcastOptions& options = {});
at::Tensor broadcast_(const at::Tensor& tensor, int root, const BroadcastOptions& options = {});
Handle broadcast_async(const at::Tensor& tensor, int root, const BroadcastOptions& options = {});
Handle broadcast_async_(const at::Tensor& tensor, int root, const BroadcastOptions& options = {});

}  // namespace hvd
