// Operation: one tensor's operation on its way from the public functions to the Session. One thread at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "horovod_cpp/coordinator/declaration.h"
#include "horovod_cpp/coordinator/submission.h"
#include "horovod_cpp/torch/collectives.h"
#include "horovod_cpp/work.h"

namespace hvd {

// What an operation that goes on writes. The core refers to it and not to Handle::State: a Session that is kept alive by its own
// operations would never end, or be ended by its own thread.
struct OperationMemory {
  at::Tensor result;
  at::Tensor staging;  // what the core works on, where that is not `result` itself
};

struct Handle::State {
  std::shared_ptr<Context> context;
  Work work;
  std::shared_ptr<OperationMemory> memory = std::make_shared<OperationMemory>();
  int integer_divisor = 0;  // 0: none
  OpKind kind = OpKind::allreduce;
  int process_set = 0;
  int number = -1;  // of an unnamed operation; stays taken for ever if nobody waits,
                    // as the operation may still be pending
  bool is_waited_for = false;
  Status outcome;

  void return_number();
};

// What the caller of an operation does next: something else, or nothing but wait for it (Session::call).
enum class Caller { goes_on, waits };

class Operation {
 public:
  Operation(OpKind kind, const std::string& name, const ProcessSet& set,
            const std::shared_ptr<Context>& context);
  static Operation reduction(OpKind kind, const AllreduceOptions& options);

  Declaration& declaration() { return declaration_; }
  // alltoall; empty: equal parts.
  void set_splits(std::vector<std::int64_t> splits) { splits_ = std::move(splits); }

  // Throws what the caller did wrong; nothing has been submitted then. Copies of copies are avoided: contiguous memory is read, and in
  // place also written, where it lies.
  void prepare(const at::Tensor& tensor, bool is_in_place);

  // Submits prepared operations in one call. If there are several, they are a group of this name (empty: numbered). Throws if one of them
  // was refused at the call; the others of the group were, too.
  static Handles start(std::vector<Operation>& operations, Caller caller, const std::string& group = {});
  Handle start(Caller caller);

  // An operation without a tensor: its result.
  // `once_announced` (it must not throw) is called here when all ranks know of it, before it has ended.
  static std::int64_t run(Declaration declaration, const CollectiveOptions& options,
                          const std::function<void()>& once_announced = nullptr);

 private:
  void check(const Status& status) const;
  void use_division_for_integer_average();
  void place_same_shape(const at::Tensor& tensor, bool is_in_place);
  void place_gathered(const at::Tensor& tensor);
  void place_scattered(const at::Tensor& tensor);
  Submission submission(const TensorId& id);
  std::size_t members() const;

  std::shared_ptr<Handle::State> state_;
  Declaration declaration_;
  std::vector<std::int64_t> splits_;
  at::Tensor tensor_;  // the caller's
  bool is_in_place_ = false;
  at::Tensor input_;
  Extents extents_;
};

}  // namespace hvd
