#include "bindings/torch/arena_opening.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "bindings/torch/tensor_facts.h"
#include "horovod_cpp/session.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {

ArenaOpening::ArenaOpening(Parts parts)
    : parts_(std::move(parts)),
      order_(at::empty({static_cast<std::int64_t>(parts_.order.size())}, c10::ScalarType::Long)) {
  std::copy(parts_.order.begin(), parts_.order.end(), order_.mutable_data_ptr<std::int64_t>());
  order_work_ = broadcast_order();
}

Work ArenaOpening::broadcast_order() {
  Session& session = parts_.context->session();
  Declaration declaration;
  declaration.name = "plan" + parts_.suffix;
  declaration.kind = OpKind::broadcast;
  declaration.dtype = DataType::int64;
  declaration.shape = shape_of(order_);
  declaration.process_set = parts_.context->process_set();
  const auto members = session.process_set(declaration.process_set);
  if (!members) return Work::finished(Status::unavailable("the process set is gone"));
  declaration.root = members->front();
  const auto id = session.declare(declaration);
  if (!id.is_ok()) return Work::finished(id.status());
  Submission submission;
  submission.id = id.value();
  submission.input = order_.const_data_ptr();
  submission.output = order_.mutable_data_ptr();
  submission.keep_alive = std::make_shared<at::Tensor>(order_);
  return session.submit(std::move(submission));
}

void ArenaOpening::name_contents(const std::vector<std::size_t>& order) {
  plan_.epochs.contents.resize(plan_.epochs.buckets.size());
  for (const std::size_t index : order)
    plan_.epochs.contents[plan_.bucket[index]].push_back(parts_.names[index]);
}

Work ArenaOpening::open_epochs() {
  std::vector<ArenaItem> items;
  for (const at::Tensor& parameter : parts_.parameters) {
    items.push_back(
        {static_cast<std::size_t>(parameter.numel()), value_or_throw(data_type_of(parameter.scalar_type()))});
  }
  const auto* const first = order_.const_data_ptr<std::int64_t>();
  const std::vector<std::size_t> order(first, first + order_.numel());
  Declaration reduction;
  reduction.op = parts_.op;
  reduction.prescale = parts_.prescale;
  reduction.postscale = parts_.postscale;
  const EffectiveReduction effective = effective_reduction(reduction, parts_.context->size());
  plan_ = plan_arena(items, order, effective.op, effective.scale, parts_.wants_squares);
  name_contents(order);
  return parts_.context->session().open_epochs(
      "gradients" + parts_.suffix, plan_.epochs, parts_.context->process_set(),
      [opened = opened_](std::shared_ptr<Epochs> epochs) { opened->epochs = std::move(epochs); });
}

bool ArenaOpening::advance(Deadline deadline) {
  Work& work = epochs_work_.is_valid() ? epochs_work_ : order_work_;
  static_cast<void>(work.wait(deadline));
  if (!work.done()) return false;
  status_ = work.wait();
  if (!status_.is_ok() || epochs_work_.is_valid()) return true;
  epochs_work_ = open_epochs();
  return false;
}

std::unique_ptr<GradientArena> ArenaOpening::take() {
  if (!status_.is_ok() || !opened_->epochs) return nullptr;
  return std::make_unique<GradientArena>(std::move(opened_->epochs), std::move(plan_), parts_.parameters);
}

}  // namespace hvd
