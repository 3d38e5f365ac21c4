#include "horovod_cpp/torch/collectives.h"

#include <exception>

#include "bindings/torch/exchanges.h"
#include "bindings/torch/gradient_exchange.h"
#include "bindings/torch/operation.h"
#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

Handle start(Operation operation, const at::Tensor& tensor, bool is_in_place,
             Caller caller = Caller::goes_on) {
  operation.prepare(tensor, is_in_place);
  return operation.start(caller);
}

// Runs it to its end.
Handle call(Operation operation, const at::Tensor& tensor, bool is_in_place = false) {
  return start(std::move(operation), tensor, is_in_place, Caller::waits);
}

Operation broadcast_from(int root, const BroadcastOptions& options) {
  Operation operation(OpKind::broadcast, options.name, options.process_set, options.context);
  operation.declaration().root = root;
  return operation;
}

Operation gathering(OpKind kind, const CollectiveOptions& options) {
  return {kind, options.name, options.process_set, options.context};
}

Operation exchange_of(const std::vector<std::int64_t>& splits, const CollectiveOptions& options) {
  Operation operation = gathering(OpKind::alltoall, options);
  operation.set_splits(splits);
  return operation;
}

// make() gives each tensor's operation. One tensor needs no group.
template <class Make>
Handles start_group(const std::vector<at::Tensor>& tensors, bool is_in_place, const std::string& name,
                    Caller caller, Make make) {
  std::vector<Operation> operations;
  for (const at::Tensor& tensor : tensors) {
    operations.push_back(make());
    operations.back().prepare(tensor, is_in_place);
  }
  return Operation::start(operations, caller, name);
}

Handles start_reductions(OpKind kind, const std::vector<at::Tensor>& tensors, bool is_in_place,
                         const AllreduceOptions& options, Caller caller = Caller::goes_on) {
  return start_group(tensors, is_in_place, options.name, caller,
                     [&] { return Operation::reduction(kind, options); });
}

Handles start_gatherings(const std::vector<at::Tensor>& tensors, const CollectiveOptions& options,
                         Caller caller = Caller::goes_on) {
  return start_group(tensors, false, options.name, caller,
                     [&] { return gathering(OpKind::allgather, options); });
}

}  // namespace

Handle allreduce_async(const at::Tensor& tensor, const AllreduceOptions& options) {
  return start(Operation::reduction(OpKind::allreduce, options), tensor, false);
}
Handle allreduce_async_(const at::Tensor& tensor, const AllreduceOptions& options) {
  return start(Operation::reduction(OpKind::allreduce, options), tensor, true);
}
at::Tensor allreduce(const at::Tensor& tensor, const AllreduceOptions& options) {
  return call(Operation::reduction(OpKind::allreduce, options), tensor).wait();
}
at::Tensor allreduce_(const at::Tensor& tensor, const AllreduceOptions& options) {
  call(Operation::reduction(OpKind::allreduce, options), tensor, true).wait();
  return tensor;
}

Handle broadcast_async(const at::Tensor& tensor, int root, const BroadcastOptions& options) {
  return start(broadcast_from(root, options), tensor, false);
}
Handle broadcast_async_(const at::Tensor& tensor, int root, const BroadcastOptions& options) {
  return start(broadcast_from(root, options), tensor, true);
}
at::Tensor broadcast(const at::Tensor& tensor, int root, const BroadcastOptions& options) {
  return call(broadcast_from(root, options), tensor).wait();
}
at::Tensor broadcast_(const at::Tensor& tensor, int root, const BroadcastOptions& options) {
  call(broadcast_from(root, options), tensor, true).wait();
  return tensor;
}

Handle allgather_async(const at::Tensor& tensor, const CollectiveOptions& options) {
  return start(gathering(OpKind::allgather, options), tensor, false);
}
at::Tensor allgather(const at::Tensor& tensor, const CollectiveOptions& options) {
  return call(gathering(OpKind::allgather, options), tensor).wait();
}

Handle alltoall_async(const at::Tensor& tensor, const std::vector<std::int64_t>& splits,
                      const CollectiveOptions& options) {
  return start(exchange_of(splits, options), tensor, false);
}
AlltoallResult alltoall(const at::Tensor& tensor, const std::vector<std::int64_t>& splits,
                        const CollectiveOptions& options) {
  Handle handle = call(exchange_of(splits, options), tensor);
  const at::Tensor result = handle.wait();
  return {result, handle.rows_from_ranks()};
}

Handle reducescatter_async(const at::Tensor& tensor, const ReducescatterOptions& options) {
  return start(Operation::reduction(OpKind::reducescatter, options), tensor, false);
}
at::Tensor reducescatter(const at::Tensor& tensor, const ReducescatterOptions& options) {
  return call(Operation::reduction(OpKind::reducescatter, options), tensor).wait();
}

std::vector<at::Tensor> wait_all(const Handles& handles) {
  std::vector<at::Tensor> results;
  for (const Handle& handle : handles) results.push_back(handle.wait());
  return results;
}

Handles grouped_allreduce_async(const std::vector<at::Tensor>& tensors, const AllreduceOptions& options) {
  return start_reductions(OpKind::allreduce, tensors, false, options);
}
Handles grouped_allreduce_async_(const std::vector<at::Tensor>& tensors, const AllreduceOptions& options) {
  return start_reductions(OpKind::allreduce, tensors, true, options);
}
std::vector<at::Tensor> grouped_allreduce(const std::vector<at::Tensor>& tensors,
                                          const AllreduceOptions& options) {
  return wait_all(start_reductions(OpKind::allreduce, tensors, false, options, Caller::waits));
}
std::vector<at::Tensor> grouped_allreduce_(const std::vector<at::Tensor>& tensors,
                                           const AllreduceOptions& options) {
  wait_all(start_reductions(OpKind::allreduce, tensors, true, options, Caller::waits));
  return tensors;
}

Handles grouped_allgather_async(const std::vector<at::Tensor>& tensors, const CollectiveOptions& options) {
  return start_gatherings(tensors, options);
}
std::vector<at::Tensor> grouped_allgather(const std::vector<at::Tensor>& tensors,
                                          const CollectiveOptions& options) {
  return wait_all(start_gatherings(tensors, options, Caller::waits));
}

Handles grouped_reducescatter_async(const std::vector<at::Tensor>& tensors,
                                    const ReducescatterOptions& options) {
  return start_reductions(OpKind::reducescatter, tensors, false, options);
}
std::vector<at::Tensor> grouped_reducescatter(const std::vector<at::Tensor>& tensors,
                                              const ReducescatterOptions& options) {
  return wait_all(start_reductions(OpKind::reducescatter, tensors, false, options, Caller::waits));
}

void barrier(const CollectiveOptions& options) {
  Declaration declaration;
  declaration.kind = OpKind::barrier;
  Operation::run(std::move(declaration), options);
}

int join(const CollectiveOptions& options) {
  Declaration declaration;
  declaration.kind = OpKind::join;
  const std::shared_ptr<Context> context = options.context ? options.context : hvd::context();
  const int set = options.process_set.id() == 0 ? context->process_set() : options.process_set.id();
  auto exchanges = exchanges_of(&context->whole());
  std::erase_if(exchanges, [set](const auto& exchange) { return exchange->process_set() != set; });
  for (const auto& exchange : exchanges) exchange->check_idle();
  // They withdraw when all ranks know: one that goes on without this one would seem to join first.
  std::exception_ptr failure;
  const auto withdraw = [&] {
    for (const auto& exchange : exchanges) {
      try {
        exchange->withdraw();
      } catch (...) {
        failure = std::current_exception();
      }
    }
  };
  const auto last = Operation::run(std::move(declaration), options, withdraw);
  for (const auto& exchange : exchanges) exchange->end_join();
  if (failure) std::rethrow_exception(failure);
  return static_cast<int>(last);
}

}  // namespace hvd
