// What GradientExchange gives to the core.
#include <ATen/ops/zeros.h>

#include "bindings/torch/device_order.h"
#include "bindings/torch/gradient_exchange.h"
#include "bindings/torch/sparse_rows.h"
#include "bindings/torch/tensor_facts.h"

namespace hvd {

Result<Submission> GradientExchange::prepare(Declaration declaration, TensorId& id,
                                             const at::Tensor& memory) {
  auto ready = point_in_current_stream(memory.device());
  HVD_RETURN_IF_ERROR(ready.status());
  if (id.index < 0) {
    declaration.shape = shape_of(memory);
    declaration.process_set = context_->process_set();
    const auto declared = context_->session().declare(declaration);
    HVD_RETURN_IF_ERROR(declared.status());
    id = declared.value();
  }
  Submission submission;
  submission.id = id;
  submission.input = memory.const_data_ptr();
  submission.output = memory.mutable_data_ptr();
  submission.ready = std::move(ready).value();
  submission.keep_alive = std::make_shared<at::Tensor>(memory);
  return submission;
}

Result<Submission> GradientExchange::prepare(Gradient& gradient) {
  const auto dtype = data_type_of(gradient.memory.scalar_type());
  HVD_RETURN_IF_ERROR(dtype.status());
  const auto device = device_id_of(gradient.memory.device());
  HVD_RETURN_IF_ERROR(device.status());
  const bool as_rows = gradient.form == Gradient::Form::rows;
  Reduction& reduction = as_rows ? gradient.rows : gradient.dense;
  if (reduction.dtype != dtype.value()) reduction.id = {};
  reduction.dtype = dtype.value();
  Declaration declaration;
  declaration.name = name_of_operation((as_rows ? "sparse gradient " : "gradient ") + gradient.name);
  declaration.dtype = dtype.value();
  declaration.device = device.value();
  declaration.op = options_.reduction.op;
  declaration.prescale = options_.reduction.prescale;
  declaration.postscale = options_.reduction.postscale;
  return prepare(std::move(declaration), reduction.id, gradient.memory);
}

// What fails here is told at the close, when the others are told too.
void GradientExchange::submit(const std::vector<std::size_t>& gradients) {
  std::vector<Submission> submissions;
  std::vector<std::size_t> submitted;
  for (const std::size_t index : gradients) {
    Result<Submission> submission = prepare(gradients_[index]);
    if (submission.is_ok()) {
      submissions.push_back(std::move(submission).value());
      submitted.push_back(index);
    } else {
      gradients_[index].work = Work::finished(submission.status());
    }
  }
  if (submissions.empty()) return;
  std::vector<Work> work = context_->session().submit(std::move(submissions));
  for (std::size_t i = 0; i < submitted.size(); ++i) gradients_[submitted[i]].work = std::move(work[i]);
}

void GradientExchange::make_rest(Gradient& gradient, bool as_rows) {
  if (!gradient.value.defined() && !gradient.is_reduced && gradient.kept.defined()) {
    std::swap(gradient.value, gradient.kept);
    const bool is_dense = gradient.value.layout() == c10::kStrided;
    gradient.is_shared = is_dense && gradient.value.storage().use_count() > 1;
  }
  const at::Tensor& value = gradient.value;
  if (as_rows) {
    gradient.memory = pack_rows(value, gradient.parameter);
    gradient.form = Gradient::Form::rows;
    return;
  }
  gradient.form = Gradient::Form::copy;
  if (!value.defined()) {
    gradient.memory =
        at::zeros(gradient.parameter.sizes(), gradient.parameter.options().requires_grad(false));
  } else if (value.layout() == c10::kStrided) {
    gradient.memory = contiguous_copy(value.detach());
  } else {
    gradient.memory = value.detach().to_dense();
  }
}

void GradientExchange::submit_rest(const std::function<bool(std::size_t)>& is_wanted,
                                   const std::function<bool(std::size_t)>& as_rows) {
  std::vector<std::size_t> rest;
  for (std::size_t i = 0; i < gradients_.size(); ++i) {
    Gradient& gradient = gradients_[i];
    if (gradient.work.is_valid() || !is_wanted(i)) continue;
    // One that waits for its group has its memory already.
    if (!gradient.memory.defined()) make_rest(gradient, as_rows(i));
    rest.push_back(i);
  }
  submit(rest);
}

}  // namespace hvd
