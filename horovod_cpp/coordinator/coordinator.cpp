#include "horovod_cpp/coordinator/coordinator.h"

#include <exception>

#include "horovod_cpp/base/text.h"

namespace hvd {

Coordinator::Coordinator(Parts parts)
    : parts_(std::move(parts)),
      log_(parts_.config.log_level, parts_.rank),
      negotiator_(parts_.size),
      stalls_(parts_.rank, parts_.config.stall_warning, parts_.config.stall_shutdown) {}

void Coordinator::submit(std::vector<Item> items) {
  for (Item& item : items) {
    if (queue_.put(item)) continue;
    const Status why = parts_.latch.status();
    finish(item,
           why.is_ok() ? Status::shut_down(text("rank ", parts_.rank, ", ", describe(*item.declaration),
                                                ": the Session was shut down"))
                       : why,
           nullptr);
  }
  parts_.control.notify();
}

void Coordinator::leave() {
  is_leaving_.store(true, std::memory_order_release);
  parts_.control.notify();
}

void Coordinator::run() {
  Status status;
  try {
    while (status.is_ok() && !negotiator_.everyone_left()) status = round();
  } catch (const std::exception& error) {
    status = Status::internal(text("rank ", parts_.rank, ", coordinator: ", error.what()));
  }
  if (status.is_ok()) {
    status = Status::shut_down("every rank has shut down before this operation was submitted everywhere");
  } else {
    parts_.fail(status);
    status = parts_.latch.status();
  }
  for (Item& item : queue_.close()) finish(item, status, nullptr);
  for (Item& item : news_) {
    if (item.state) finish(item, status, nullptr);
  }
  for (auto& [id, item] : pending_) finish(item, status, nullptr);
  news_.clear();
  pending_.clear();
}

// True if there is a reason for a round.
Result<bool> Coordinator::wait_for_news() {
  // Read before the queue: what was submitted before leave() must not be reported after it.
  is_leaving_now_ = is_leaving_.load(std::memory_order_acquire) && !has_said_leaving_;
  news_ = queue_.take_all();
  if (!news_.empty() || is_leaving_now_) return true;
  const bool watch_stalls = stalls_.is_on() && negotiator_.has_waiting();
  return parts_.control.wait(watch_stalls ? Deadline::after(stalls_.interval()) : Deadline::never());
}

Status Coordinator::round() {
  const Result<bool> has_news = wait_for_news();
  HVD_RETURN_IF_ERROR(has_news.status());
  HVD_RETURN_IF_ERROR(check_stalls());
  if (!has_news.value()) return {};

  const Report mine = report_of(news_);
  has_said_leaving_ = has_said_leaving_ || mine.is_leaving;
  std::vector<Report> reports;
  HVD_RETURN_IF_ERROR(swap(mine, reports));
  const Result<std::vector<Agreement>> agreements = negotiator_.step(reports);
  HVD_RETURN_IF_ERROR(agreements.status());
  remember_news();
  return execute(agreements.value());
}

Report Coordinator::report_of(const std::vector<Item>& items) const {
  Report report;
  report.is_leaving = is_leaving_now_;
  for (const Item& item : items) {
    const auto id = negotiator_.wire_id(item.declaration->name);
    const auto announced = id ? announced_.find(*id) : announced_.end();
    if (announced != announced_.end() && announced->second == item.submission.id.index) {
      report.ready.push_back({false, *id});
    } else {
      report.ready.push_back({true, static_cast<std::uint32_t>(report.declarations.size())});
      report.declarations.push_back(*item.declaration);
    }
  }
  return report;
}

Status Coordinator::swap(const Report& mine, std::vector<Report>& all) {
  std::vector<Bytes> encoded;
  HVD_RETURN_IF_ERROR(parts_.control.all_gather(encode(mine), encoded, Deadline::never()));
  for (std::size_t rank = 0; rank < encoded.size(); ++rank) {
    Result<Report> report = decode_report(encoded[rank]);
    if (!report.is_ok()) return report.status().with_prefix(text("rank ", rank, ": "));
    all.push_back(std::move(report).value());
  }
  return {};
}

void Coordinator::remember_news() {
  for (Item& item : news_) {
    const std::uint32_t id = *negotiator_.wire_id(item.declaration->name);
    announced_[id] = item.submission.id.index;
    pending_.emplace(id, std::move(item));
  }
  news_.clear();
}

Status Coordinator::execute(const std::vector<Agreement>& agreements) {
  for (const Agreement& agreement : agreements) {
    if (agreement.status.is_ok()) continue;
    if (auto item = pending_.extract(agreement.wire_id)) finish(item.mapped(), agreement.status, nullptr);
  }
  for (const Batch& batch : plan_fusion(agreements, parts_.config.fusion_threshold_bytes)) {
    HVD_RETURN_IF_ERROR(execute(batch, agreements));
  }
  return {};
}

Status Coordinator::execute(const Batch& batch, const std::vector<Agreement>& agreements) {
  const Declaration& declaration = *agreements[batch.front()].declaration;
  std::vector<TensorSlice> slices;
  slices.reserve(batch.size());
  for (const std::size_t member : batch) {
    const Submission& submission = pending_.at(agreements[member].wire_id).submission;
    slices.push_back({submission.input, submission.output,
                      static_cast<std::size_t>(element_count(agreements[member].declaration->shape)),
                      submission.ready.get()});
  }
  Collectives* backend = backend_for(declaration.device.type);
  const ReduceOp op = effective_reduction(declaration, parts_.size).op;
  const bool is_supported = backend != nullptr && backend->supports(declaration.kind, declaration.dtype, op);
  Status status;
  Completion completion;
  if (is_supported) {
    Result<Completion> result = call_backend(declaration, *backend, slices);
    // A backend that fails has left the other ranks in the middle of the operation: nothing can go on.
    if (!result.is_ok()) {
      return result.status().with_prefix(text("rank ", parts_.rank, ", ", describe(declaration), ": "));
    }
    completion = std::move(result).value();
  } else {
    status = Status::unimplemented(
        text(describe(declaration), ": ",
             backend ? text("backend '", backend->name(), "' has no ")
                     : text("no backend for ", name_of(declaration.device), " tensors, so no "),
             name_of(declaration.kind), " of ", name_of(declaration.dtype), " with ", name_of(op),
             ". hvdrun --check-build shows what there is."));
  }
  for (const std::size_t member : batch) {
    auto item = pending_.extract(agreements[member].wire_id);
    finish(item.mapped(), status, completion);
  }
  return {};
}

Result<Completion> Coordinator::call_backend(const Declaration& declaration, Collectives& backend,
                                             const std::vector<TensorSlice>& slices) const {
  switch (declaration.kind) {
    case OpKind::allreduce: {
      const EffectiveReduction reduction = effective_reduction(declaration, parts_.size);
      return backend.allreduce({slices, declaration.dtype, reduction.op, reduction.scale, Deadline::never()});
    }
    case OpKind::broadcast:
      return backend.broadcast({slices, declaration.dtype, declaration.root, Deadline::never()});
    case OpKind::barrier: {
      HVD_RETURN_IF_ERROR(backend.barrier(Deadline::never()));
      return Completion{};
    }
    default:
      return Status::unimplemented(text(name_of(declaration.kind), " is not implemented"));
  }
}

Collectives* Coordinator::backend_for(DeviceType type) const {
  for (Collectives* backend : parts_.collectives) {
    if (backend->device_type() == type) return backend;
  }
  return nullptr;
}

void Coordinator::finish(Item& item, const Status& status, const Completion& completion) {
  item.submission.keep_alive.reset();
  // The name is free before the waiter wakes: he may submit it again at once.
  parts_.declarations.end(item.submission.id);
  item.state->finish(status, completion);
}

Status Coordinator::check_stalls() {
  if (!stalls_.is_on() || !negotiator_.has_waiting()) return {};
  const auto waiting = negotiator_.waiting();
  StallMonitor::Verdict verdict = stalls_.check(parts_.clock.now(), waiting);
  for (const std::string& warning : verdict.warnings) log_.warning(warning);
  return verdict.end;
}

}  // namespace hvd
