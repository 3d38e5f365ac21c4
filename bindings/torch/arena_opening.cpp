#include "bindings/torch/arena_opening.h"

#include <algorithm>

#include "bindings/torch/kept_heap.h"

namespace hvd {

ArenaOpening::ArenaOpening(Parts parts)
    : parts_(std::move(parts)),
      sight_(std::make_shared<std::vector<std::int64_t>>(parts_.order.begin(), parts_.order.end())) {
  sight_->push_back(parts_.backward.count());
  sight_->push_back(static_cast<std::int64_t>(fitted_chunk_bytes(caches_of_machine())));
  sight_work_ = broadcast_sight();
}

Work ArenaOpening::broadcast_sight() {
  Declaration declaration;
  declaration.name = "plan" + parts_.suffix;
  declaration.kind = OpKind::broadcast;
  declaration.dtype = DataType::int64;
  declaration.shape = {static_cast<std::int64_t>(sight_->size())};
  declaration.process_set = parts_.process_set;
  const auto members = parts_.session.process_set(declaration.process_set);
  if (!members) return Work::finished(Status::unavailable("the process set is gone"));
  declaration.root = members->front();
  const auto id = parts_.session.declare(declaration);
  if (!id.is_ok()) return Work::finished(id.status());
  Submission submission;
  submission.id = id.value();
  submission.input = sight_->data();
  submission.output = sight_->data();
  submission.keep_alive = sight_;
  return parts_.session.submit(std::move(submission));
}

void ArenaOpening::name_contents(const std::vector<std::size_t>& order) {
  plan_.epochs.contents.resize(plan_.epochs.buckets.size());
  for (const std::size_t index : order)
    plan_.epochs.contents[plan_.bucket[index]].push_back(parts_.names[index]);
}

Work ArenaOpening::open_epochs() {
  std::size_t total_bytes = 0;
  for (const ArenaItem& item : parts_.items) total_bytes += item.count * size_in_bytes(item.dtype);
  const std::vector<std::size_t> order(sight_->begin(), sight_->end() - 2);
  Declaration reduction;
  reduction.op = parts_.op;
  reduction.prescale = parts_.prescale;
  reduction.postscale = parts_.postscale;
  const EffectiveReduction effective = effective_reduction(
      reduction,
      static_cast<int>(parts_.session.process_set(parts_.process_set).value_or(std::vector{0}).size()));
  const std::size_t bucket_bytes = bucket_bytes_for(total_bytes, std::chrono::nanoseconds(sight_->end()[-2]));
  plan_ = plan_arena(parts_.items, order, bucket_bytes, effective.op, effective.scale, parts_.wants_squares);
  plan_.epochs.chunk_bytes = static_cast<std::size_t>(sight_->back());
  name_contents(order);
  return parts_.session.open_epochs(
      "gradients" + parts_.suffix, plan_.epochs, parts_.process_set,
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

std::unique_ptr<ArenaEpochs> ArenaOpening::take() {
  if (!status_.is_ok() || !opened_->epochs) return nullptr;
  keep_heap();
  return std::make_unique<ArenaEpochs>(parts_.session, std::move(opened_->epochs), std::move(plan_),
                                       parts_.names, parts_.suffix);
}

}  // namespace hvd
