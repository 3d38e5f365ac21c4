#include "bindings/torch/operation.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <numeric>
#include <semaphore>

#include "bindings/torch/device_order.h"
#include "bindings/torch/integer_average.h"
#include "bindings/torch/tensor_facts.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/process_sets.h"
#include "horovod_cpp/session.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {
namespace {

bool has_rows_of_its_own(OpKind kind) { return kind == OpKind::allgather || kind == OpKind::alltoall; }

std::vector<std::int64_t> with_first(std::int64_t rows, const Shape& row) {
  std::vector<std::int64_t> shape{rows};
  shape.insert(shape.end(), row.begin(), row.end());
  return shape;
}

// What was refused at the call is the caller's to hear there. What else has ended the Work by now belongs to the wait, where it would be
// told had it come later.
bool is_refused(const Work& work) {
  return work.done() && work.wait().code() == StatusCode::invalid_argument;
}

}  // namespace

void Handle::State::return_number() {
  if (number >= 0) context->return_operation_number(kind, process_set, number);
  number = -1;
}

Operation::Operation(OpKind kind, const std::string& name, const ProcessSet& set,
                     const std::shared_ptr<Context>& context)
    : state_(std::make_shared<Handle::State>()) {
  state_->context = context ? context : hvd::context();
  state_->kind = kind;
  state_->process_set = set.id() == 0 ? state_->context->process_set() : set.id();
  declaration_.kind = kind;
  declaration_.name = name;
  declaration_.process_set = state_->process_set;
}

Operation Operation::reduction(OpKind kind, const AllreduceOptions& options) {
  Operation operation(kind, options.name, options.process_set, options.context);
  operation.declaration_.op = options.op;
  operation.declaration_.prescale = options.prescale;
  operation.declaration_.postscale = options.postscale;
  return operation;
}

void Operation::check(const Status& status) const {
  throw_if_failed(status.with_prefix(
      text("rank ", state_->context->rank(), ", ", name_of(declaration_.kind),
           declaration_.name.empty() ? std::string() : text(" '", declaration_.name, "'"), ": ")));
}

std::size_t Operation::members() const {
  const auto members = state_->context->session().process_set(declaration_.process_set);
  if (!members) check(Status::invalid_argument(text("there is no process set ", declaration_.process_set)));
  return members->size();
}

void Operation::prepare(const at::Tensor& tensor, bool is_in_place) {
  const at::NoGradGuard no_grad;
  check(check_tensor(tensor));
  if (is_in_place && overlaps_itself(tensor)) {
    check(Status::invalid_argument("an expanded tensor cannot be written in place: pass .contiguous()"));
  }
  tensor_ = tensor;
  is_in_place_ = is_in_place;
  declaration_.dtype = value_or_throw(data_type_of(tensor.scalar_type()));
  declaration_.device = value_or_throw(device_id_of(tensor.device()));
  declaration_.shape = shape_of(tensor);
  use_division_for_integer_average();
  const at::Tensor values = tensor.detach();
  input_ = is_plain_memory(values) ? values : contiguous_copy(values);
  if (has_rows_of_its_own(declaration_.kind)) {
    place_gathered(values);
  } else if (declaration_.kind == OpKind::reducescatter) {
    place_scattered(values);
  } else {
    place_same_shape(values, is_in_place);
  }
}

void Operation::use_division_for_integer_average() {
  const bool reduces = declaration_.kind == OpKind::allreduce || declaration_.kind == OpKind::reducescatter;
  if (!reduces || declaration_.op != ReduceOp::average) return;
  if (!is_integer(declaration_.dtype)) return;
  if (declaration_.device.type != DeviceType::cpu) {
    check(
        Status::invalid_argument("the average of integers is computed on the CPU only: use Sum and divide"));
  }
  declaration_.op = ReduceOp::sum;
  state_->integer_divisor = static_cast<int>(members());
}

void Operation::place_same_shape(const at::Tensor& tensor, bool is_in_place) {
  const bool is_plain = input_.is_same(tensor);
  if (is_in_place) {
    state_->memory->result = tensor;
    if (!is_plain) state_->memory->staging = input_;
  } else {
    state_->memory->result = is_plain ? at::empty(tensor.sizes(), tensor.options()) : input_;
  }
}

void Operation::place_gathered(const at::Tensor& tensor) {
  if (declaration_.device.type != DeviceType::cpu) {
    check(Status::invalid_argument("served for tensors on the CPU only: pass tensor.cpu()"));
  }
  const std::int64_t rows = tensor.dim() == 0 ? 1 : tensor.size(0);
  if (tensor.dim() > 0) declaration_.shape.erase(declaration_.shape.begin());
  if (declaration_.kind == OpKind::allgather) {
    extents_ = {rows};
    return;
  }
  const auto ranks = static_cast<std::int64_t>(members());
  extents_ = splits_;
  if (splits_.empty()) {
    if (rows % ranks != 0) {
      check(Status::invalid_argument(text("shape ", name_of(shape_of(tensor)), ": its ", rows,
                                          " rows cannot be divided evenly among ", ranks,
                                          " ranks; pass splits")));
    }
    extents_.assign(static_cast<std::size_t>(ranks), rows / ranks);
  }
  const std::int64_t sum = std::accumulate(extents_.begin(), extents_.end(), std::int64_t{0});
  if (sum != rows) {
    check(Status::invalid_argument(
        text("splits ", name_of(Shape(extents_)), " make ", sum, " rows, but the tensor has ", rows)));
  }
}

void Operation::place_scattered(const at::Tensor& tensor) {
  if (tensor.dim() == 0) return;  // refused by the Session, with its words
  const auto set = state_->context->session().process_set(declaration_.process_set);
  const int position = set ? position_in(*set, state_->context->rank()) : -1;
  if (position < 0) return;  // likewise
  const auto rows = reducescatter_rows(tensor.size(0), set->size());
  auto shape = tensor.sizes().vec();
  shape.front() = rows[static_cast<std::size_t>(position)];
  state_->memory->result = at::empty(shape, tensor.options().memory_format(at::MemoryFormat::Contiguous));
}

Submission Operation::submission(const TensorId& id) {
  Submission out;
  out.id = id;
  out.input = input_.const_data_ptr();
  out.extents = extents_;
  out.keep_alive =
      std::make_shared<std::pair<at::Tensor, std::shared_ptr<OperationMemory>>>(input_, state_->memory);
  if (has_rows_of_its_own(declaration_.kind)) {
    out.allocate = [memory = state_->memory, row = declaration_.shape,
                    options = input_.options()](std::span<const std::int64_t> rows) -> void* {
      const std::int64_t sum = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
      memory->result = at::empty(with_first(sum, row), options);
      return memory->result.mutable_data_ptr();
    };
  } else {
    const at::Tensor& output =
        state_->memory->staging.defined() ? state_->memory->staging : state_->memory->result;
    if (output.defined()) out.output = output.mutable_data_ptr();
  }
  return out;
}

Handles Operation::start(std::vector<Operation>& operations, Caller caller, const std::string& group) {
  if (operations.empty()) return {};
  Handle::State& first = *operations.front().state_;
  Session& session = first.context->session();
  const bool is_unnamed = operations.front().declaration_.name.empty();
  if (is_unnamed) first.number = first.context->take_operation_number(first.kind, first.process_set);
  std::string group_name = group;
  if (operations.size() > 1 && group.empty())
    group_name = text("unnamed group of ", name_of(first.kind), ' ', first.number);

  std::vector<Submission> submissions;
  for (std::size_t i = 0; i < operations.size(); ++i) {
    Operation& operation = operations[i];
    Declaration& declaration = operation.declaration_;
    if (is_unnamed) declaration.name = text("unnamed ", name_of(first.kind), ' ', first.number);
    if (operations.size() > 1) {
      declaration.name = text(declaration.name, ", ", i, " of ", operations.size());
      declaration.group = group_name;
      declaration.group_size = static_cast<int>(operations.size());
    }
    auto ready = point_in_current_stream(operation.tensor_.device());
    const auto id = ready.is_ok() ? session.declare(declaration) : Result<TensorId>(ready.status());
    if (!id.is_ok()) {
      first.return_number();
      throw_if_failed(id.status());
    }
    Submission submission = operation.submission(id.value());
    submission.ready = std::move(ready).value();
    submissions.push_back(std::move(submission));
  }
  const std::vector<Work> work =
      caller == Caller::waits ? session.call(std::move(submissions)) : session.submit(std::move(submissions));
  Handles handles;
  for (std::size_t i = 0; i < operations.size(); ++i) {
    Operation& operation = operations[i];
    operation.state_->work = work[i];
    if (is_refused(work[i])) {
      first.return_number();
      throw_if_failed(work[i].wait());
    }
    if (operation.is_in_place_ && !operation.tensor_.is_inference()) {
      operation.tensor_.unsafeGetTensorImpl()->bump_version();
    }
    handles.push_back(Handle(operation.state_));
  }
  return handles;
}

Handle Operation::start(Caller caller) {
  std::vector<Operation> one;
  one.push_back(std::move(*this));
  return std::move(start(one, caller).front());
}

std::int64_t Operation::run(Declaration declaration, const CollectiveOptions& options,
                            const std::function<void()>& once_announced) {
  const auto context = options.context ? options.context : hvd::context();
  declaration.process_set = options.process_set.id() == 0 ? context->process_set() : options.process_set.id();
  const bool is_unnamed = options.name.empty();
  const int number =
      is_unnamed ? context->take_operation_number(declaration.kind, declaration.process_set) : -1;
  declaration.name = is_unnamed ? text("unnamed ", name_of(declaration.kind), ' ', number) : options.name;
  Session& session = context->session();
  const auto id = session.declare(declaration);
  Work work = Work::finished(id.status());
  if (id.is_ok()) {
    Submission submission;
    submission.id = id.value();
    const auto announced = std::make_shared<std::binary_semaphore>(0);
    if (once_announced) submission.on_announced = [announced] { announced->release(); };
    if (once_announced) {
      work = session.submit(std::move(submission));
      announced->acquire();
      once_announced();
    } else {
      work = session.call(std::move(submission));
    }
  }
  const Status status = work.wait();
  if (is_unnamed) context->return_operation_number(declaration.kind, declaration.process_set, number);
  throw_if_failed(status);
  return work.result().empty() ? 0 : work.result().front();
}

bool Handle::done() const { return state_->is_waited_for || state_->work.done(); }

bool Handle::wait_until(Deadline deadline) const {
  if (!state_->is_waited_for) static_cast<void>(state_->work.wait(deadline));
  return done();
}

at::Tensor Handle::wait() const {
  State& state = *state_;
  OperationMemory& memory = *state.memory;
  if (!state.is_waited_for) {
    const at::NoGradGuard no_grad;
    state.outcome = state.work.wait();
    state.is_waited_for = true;
    state.return_number();
    if (state.outcome.is_ok()) {
      let_current_stream_wait(state.work.completion(), memory.result.device());
      at::Tensor& output = memory.staging.defined() ? memory.staging : memory.result;
      if (state.integer_divisor > 1) {
        divide_in_place(output.mutable_data_ptr(), static_cast<std::size_t>(output.numel()),
                        value_or_throw(data_type_of(output.scalar_type())), state.integer_divisor);
      }
      if (memory.staging.defined()) memory.result.copy_(memory.staging);
    }
  }
  throw_if_failed(state.outcome);
  return memory.result;
}

const std::vector<std::int64_t>& Handle::rows_from_ranks() const { return state_->work.result(); }

}  // namespace hvd
