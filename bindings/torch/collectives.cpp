#include "horovod_cpp/torch/collectives.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "bindings/torch/device_order.h"
#include "bindings/torch/integer_average.h"
#include "bindings/torch/tensor_facts.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/session.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {

struct Handle::State {
  std::shared_ptr<Context> context;
  Work work;
  at::Tensor result;
  at::Tensor staging;       // what the core works on, where that is not `result` itself
  int integer_divisor = 0;  // 0: none
  OpKind kind = OpKind::allreduce;
  int number = -1;  // of an unnamed operation; stays taken for ever if nobody waits,
                    // as the operation may still be pending
  bool is_waited_for = false;
  Status outcome;
};

// One call of the public functions, until it is a Handle.
class Operation {
 public:
  Operation(const std::shared_ptr<Context>& context, OpKind kind, const std::string& name)
      : state_(std::make_shared<Handle::State>()) {
    state_->context = context ? context : hvd::context();
    state_->kind = kind;
    declaration_.kind = kind;
    declaration_.name = name;
  }

  Declaration& declaration() { return declaration_; }

  // Copies of copies are avoided: contiguous memory is read, and in place also written, where it lies.
  Handle start(const at::Tensor& tensor, bool is_in_place) {
    const at::NoGradGuard no_grad;
    check(check_tensor(tensor));
    if (is_in_place && overlaps_itself(tensor)) {
      check(Status::invalid_argument("an expanded tensor cannot be written in place: pass .contiguous()"));
    }
    declaration_.dtype = value_or_throw(data_type_of(tensor.scalar_type()));
    declaration_.device = value_or_throw(device_id_of(tensor.device()));
    declaration_.shape = shape_of(tensor);
    use_division_for_integer_average();
    place(tensor.detach(), is_in_place);
    submit(tensor.device());
    if (is_in_place && !tensor.is_inference()) tensor.unsafeGetTensorImpl()->bump_version();
    return Handle(state_);
  }

 private:
  void check(const Status& status) const {
    throw_if_failed(status.with_prefix(
        text("rank ", state_->context->rank(), ", ", name_of(declaration_.kind),
             declaration_.name.empty() ? std::string() : text(" '", declaration_.name, "'"), ": ")));
  }

  void use_division_for_integer_average() {
    if (declaration_.kind != OpKind::allreduce || declaration_.op != ReduceOp::average) return;
    if (!is_integer(declaration_.dtype)) return;
    if (declaration_.device.type != DeviceType::cpu) {
      check(Status::invalid_argument(
          "the average of integers is computed on the CPU only: use Sum and divide"));
    }
    declaration_.op = ReduceOp::sum;
    state_->integer_divisor = state_->context->size();
  }

  void place(const at::Tensor& tensor, bool is_in_place) {
    const bool is_plain = is_plain_memory(tensor);
    input_ = is_plain ? tensor : contiguous_copy(tensor);
    if (is_in_place) {
      state_->result = tensor;
      if (!is_plain) state_->staging = input_;
    } else {
      state_->result = is_plain ? at::empty(tensor.sizes(), tensor.options()) : input_;
    }
  }

  void submit(c10::Device device) {
    auto ready = point_in_current_stream(device);
    check(ready.status());
    Session& session = state_->context->session();
    if (declaration_.name.empty()) {
      state_->number = state_->context->take_operation_number(declaration_.kind);
      declaration_.name = text("unnamed ", name_of(declaration_.kind), ' ', state_->number);
    }
    auto id = session.declare(declaration_);
    if (id.is_ok()) {
      const at::Tensor& output = state_->staging.defined() ? state_->staging : state_->result;
      Submission submission;
      submission.id = id.value();
      submission.input = input_.const_data_ptr();
      submission.output = output.mutable_data_ptr();
      submission.ready = std::move(ready).value();
      submission.keep_alive = std::make_shared<std::pair<at::Tensor, at::Tensor>>(input_, output);
      state_->work = session.submit(std::move(submission));
    }
    // Only the caller's bug belongs to the call. What else has ended it by now belongs to the wait, where it
    // would be told had it come later.
    if (id.is_ok() && !state_->work.done()) return;
    const Status status = id.is_ok() ? state_->work.wait() : id.status();
    if (id.is_ok() && status.code() != StatusCode::invalid_argument) return;
    if (state_->number >= 0) state_->context->return_operation_number(state_->kind, state_->number);
    throw_if_failed(status);
  }

  std::shared_ptr<Handle::State> state_;
  Declaration declaration_;
  at::Tensor input_;
};

bool Handle::done() const { return state_->is_waited_for || state_->work.done(); }

bool Handle::wait_until(Deadline deadline) const {
  if (!state_->is_waited_for) static_cast<void>(state_->work.wait(deadline));
  return done();
}

at::Tensor Handle::wait() {
  State& state = *state_;
  if (!state.is_waited_for) {
    const at::NoGradGuard no_grad;
    state.outcome = state.work.wait();
    state.is_waited_for = true;
    if (state.number >= 0) state.context->return_operation_number(state.kind, state.number);
    if (state.outcome.is_ok()) {
      let_current_stream_wait(state.work.completion(), state.result.device());
      at::Tensor& output = state.staging.defined() ? state.staging : state.result;
      if (state.integer_divisor > 1) {
        divide_in_place(output.mutable_data_ptr(), static_cast<std::size_t>(output.numel()),
                        value_or_throw(data_type_of(output.scalar_type())), state.integer_divisor);
      }
      if (state.staging.defined()) state.result.copy_(state.staging);
    }
  }
  throw_if_failed(state.outcome);
  return state.result;
}

namespace {

Handle start_allreduce(const at::Tensor& tensor, const AllreduceOptions& options, bool is_in_place) {
  Operation operation(options.context, OpKind::allreduce, options.name);
  operation.declaration().op = options.op;
  operation.declaration().prescale = options.prescale;
  operation.declaration().postscale = options.postscale;
  return operation.start(tensor, is_in_place);
}

Handle start_broadcast(const at::Tensor& tensor, int root, const BroadcastOptions& options,
                       bool is_in_place) {
  Operation operation(options.context, OpKind::broadcast, options.name);
  operation.declaration().root = root;
  return operation.start(tensor, is_in_place);
}

}  // namespace

Handle allreduce_async(const at::Tensor& tensor, const AllreduceOptions& options) {
  return start_allreduce(tensor, options, false);
}
Handle allreduce_async_(const at::Tensor& tensor, const AllreduceOptions& options) {
  return start_allreduce(tensor, options, true);
}
at::Tensor allreduce(const at::Tensor& tensor, const AllreduceOptions& options) {
  return allreduce_async(tensor, options).wait();
}
at::Tensor allreduce_(const at::Tensor& tensor, const AllreduceOptions& options) {
  allreduce_async_(tensor, options).wait();
  return tensor;
}

Handle broadcast_async(const at::Tensor& tensor, int root, const BroadcastOptions& options) {
  return start_broadcast(tensor, root, options, false);
}
Handle broadcast_async_(const at::Tensor& tensor, int root, const BroadcastOptions& options) {
  return start_broadcast(tensor, root, options, true);
}
at::Tensor broadcast(const at::Tensor& tensor, int root, const BroadcastOptions& options) {
  return broadcast_async(tensor, root, options).wait();
}
at::Tensor broadcast_(const at::Tensor& tensor, int root, const BroadcastOptions& options) {
  broadcast_async_(tensor, root, options).wait();
  return tensor;
}

}  // namespace hvd
