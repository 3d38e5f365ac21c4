#include "bindings/torch/arena_opening.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "bindings/torch/tensor_facts.h"
#include "horovod_cpp/session.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {

ArenaOpening::ArenaOpening(Parts parts)
    : parts_(std::move(parts)),
      sight_(at::empty({static_cast<std::int64_t>(parts_.order.size() + 1)}, c10::ScalarType::Long)) {
  auto* const end =
      std::copy(parts_.order.begin(), parts_.order.end(), sight_.mutable_data_ptr<std::int64_t>());
  *end = parts_.backward.count();
  sight_work_ = broadcast_sight();
}

Work ArenaOpening::broadcast_sight() {
  Session& session = parts_.context->session();
  Declaration declaration;
  declaration.name = "plan" + parts_.suffix;
  declaration.kind = OpKind::broadcast;
  declaration.dtype = DataType::int64;
  declaration.shape = shape_of(sight_);
  declaration.process_set = parts_.context->process_set();
  const auto members = session.process_set(declaration.process_set);
  if (!members) return Work::finished(Status::unavailable("the process set is gone"));
  declaration.root = members->front();
  const auto id = session.declare(declaration);
  if (!id.is_ok()) return Work::finished(id.status());
  Submission submission;
  submission.id = id.value();
  submission.input = sight_.const_data_ptr();
  submission.output = sight_.mutable_data_ptr();
  submission.keep_alive = std::make_shared<at::Tensor>(sight_);
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
  std::size_t total_bytes = 0;
  for (const ArenaItem& item : items) total_bytes += item.count * size_in_bytes(item.dtype);
  const auto* const first = sight_.const_data_ptr<std::int64_t>();
  const auto* const last = first + sight_.numel() - 1;
  const std::vector<std::size_t> order(first, last);
  Declaration reduction;
  reduction.op = parts_.op;
  reduction.prescale = parts_.prescale;
  reduction.postscale = parts_.postscale;
  const EffectiveReduction effective = effective_reduction(reduction, parts_.context->size());
  const std::size_t bucket_bytes = bucket_bytes_for(total_bytes, std::chrono::nanoseconds(*last));
  plan_ = plan_arena(items, order, bucket_bytes, effective.op, effective.scale, parts_.wants_squares);
  name_contents(order);
  return parts_.context->session().open_epochs(
      "gradients" + parts_.suffix, plan_.epochs, parts_.context->process_set(),
      [opened = opened_](std::shared_ptr<Epochs> epochs) { opened->epochs = std::move(epochs); });
}

bool ArenaOpening::advance(Deadline deadline) {
  Work& work = epochs_work_.is_valid() ? epochs_work_ : sight_work_;
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
