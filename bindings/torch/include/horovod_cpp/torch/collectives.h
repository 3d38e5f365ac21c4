// Operations on tensors between the ranks.
//
//   torch::Tensor mean = hvd::allreduce(loss);                            // a new tensor
//   hvd::allreduce_(statistics, {.name = "statistics", .op = hvd::Sum});  // in place
//   auto handle = hvd::allreduce_async_(big); … handle.wait();            // while something else is computed
//   hvd::broadcast_(weights, 0);                                          // everybody gets rank 0's
//   torch::Tensor all = hvd::allgather(rows);                             // everybody's rows, in the order of ranks
//   auto [mine, counts] = hvd::alltoall(rows, splits);                    // a part for each rank, a part from each rank
//   torch::Tensor part = hvd::reducescatter(gradients);                   // the reduced tensor's rows, divided among ranks
//   hvd::grouped_allreduce_({a, b, c});                                   // at once or not at all
//   hvd::barrier();
//   int last = hvd::join();                                               // no more data here: see below
//
// Tensors: dense, on the CPU or on a CUDA device that the Session has a backend for; any strides, also 0-d
// and empty; uint8, int8, uint16, int16, int32, int64, uint32, uint64, float16, bfloat16, float32, float64,
// bool, float8_e4m3fn, float8_e5m2. All ranks pass the same shape, type and options; otherwise every rank
// gets a MismatchError that names tensor, ranks and values. The first dimension may differ in allgather and alltoall.
// Average of integers: the sum (which wraps, as integers do) divided by the number of ranks, rounded towards
// zero, as Horovod does. Average of bool is refused: use Max (any rank) or Min (all ranks). prescale and
// postscale are for floating types. 16-bit and fp8 types are added in float32 and rounded once; fp8 saturates.
// Autograd: values only; the result never requires a gradient. An in-place operation counts as a
// modification, so autograd refuses a backward that needed the old values.
// Names: operations may be submitted in any order, ranks find each other's
// by name. Unnamed ones are numbered, so all ranks must call those in the
// same order. A name may be used again once its operation was waited for. Each process set has names of its own.
// Threading: every function may be called from any thread; a Handle belongs to one thread at a time.
// Errors: errors.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/types.h"
#include "horovod_cpp/torch/context.h"
#include "horovod_cpp/torch/process_set.h"

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
  ProcessSet process_set = {};                 // who takes part; default: all ranks
  std::shared_ptr<Context> context = nullptr;  // nullptr: the process's own, of hvd::init()
};
using ReducescatterOptions = AllreduceOptions;

struct CollectiveOptions {
  std::string name = {};
  ProcessSet process_set = {};
  std::shared_ptr<Context> context = nullptr;
};
using BroadcastOptions = CollectiveOptions;

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
  at::Tensor wait() const;
  // After wait(): how many rows of the result came from each member of the process set (allgather, alltoall).
  const std::vector<std::int64_t>& rows_from_ranks() const;

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

// The tensors of all ranks, concatenated along the first dimension, in which they may differ. A 0-d tensor counts as one row. On the CPU.
at::Tensor allgather(const at::Tensor& tensor, const CollectiveOptions& options = {});
Handle allgather_async(const at::Tensor& tensor, const CollectiveOptions& options = {});

struct AlltoallResult {
  at::Tensor tensor;
  std::vector<std::int64_t> received_splits;  // rows from each rank
};
// Sends splits[r] rows to member r of the process set, one part after another, and returns what all members sent here, in their order.
// Without splits: equal parts; std::invalid_argument if the rows cannot be divided so. On the CPU.
AlltoallResult alltoall(const at::Tensor& tensor, const std::vector<std::int64_t>& splits = {},
                        const CollectiveOptions& options = {});
Handle alltoall_async(const at::Tensor& tensor, const std::vector<std::int64_t>& splits = {},
                      const CollectiveOptions& options = {});

// Reduces as allreduce does, and returns this rank's rows of the result. Rows are divided evenly; if they cannot be, the first ranks get
// one more. At least 1-d.
at::Tensor reducescatter(const at::Tensor& tensor, const ReducescatterOptions& options = {});
Handle reducescatter_async(const at::Tensor& tensor, const ReducescatterOptions& options = {});

// Several tensors as one: executed when all of them are ready on all ranks; if one of them is refused, all are, with one error. Types and
// shapes may be mixed. options.name is followed by each tensor's index. The results have the order of the tensors.
using Handles = std::vector<Handle>;
std::vector<at::Tensor> wait_all(const Handles& handles);
std::vector<at::Tensor> grouped_allreduce(const std::vector<at::Tensor>& tensors,
                                          const AllreduceOptions& options = {});
std::vector<at::Tensor> grouped_allreduce_(const std::vector<at::Tensor>& tensors,
                                           const AllreduceOptions& options = {});
Handles grouped_allreduce_async(const std::vector<at::Tensor>& tensors, const AllreduceOptions& options = {});
Handles grouped_allreduce_async_(const std::vector<at::Tensor>& tensors,
                                 const AllreduceOptions& options = {});
std::vector<at::Tensor> grouped_allgather(const std::vector<at::Tensor>& tensors,
                                          const CollectiveOptions& options = {});
Handles grouped_allgather_async(const std::vector<at::Tensor>& tensors,
                                const CollectiveOptions& options = {});
std::vector<at::Tensor> grouped_reducescatter(const std::vector<at::Tensor>& tensors,
                                              const ReducescatterOptions& options = {});
Handles grouped_reducescatter_async(const std::vector<at::Tensor>& tensors,
                                    const ReducescatterOptions& options = {});

// Returns when every member of the process set has called it.
void barrier(const CollectiveOptions& options = {});

// For a rank whose data has run out before the others': returns when all members of the process set have called it, and says which rank
// (of the job) came last. Until then this rank contributes zeros to their sums and averages (which go on dividing by the number of members), no rows to
// their allgathers, and takes part in barriers and, but as root, in broadcasts. Min, Max, Product and alltoall are refused meanwhile: MismatchError on the ranks that
// call them. CPU tensors only.
// It works with DistributedOptimizer too, whose gradients are such sums. This rank misses the others' last steps then, so go on with
// the model of the one that made them all:
//
//   const int last = hvd::join();
//   hvd::broadcast_parameters(*model, last);
//   hvd::broadcast_optimizer_state(optimizer.get(), last);
int join(const CollectiveOptions& options = {});

}  // namespace hvd
