#include "horovod_cpp/coordinator/execution.h"

#include <utility>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/backend_call.h"
#include "horovod_cpp/coordinator/logbook.h"
#include "horovod_cpp/coordinator/position.h"
#include "horovod_cpp/coordinator/process_sets.h"

namespace hvd {
namespace {

// ok if `backend` (nullptr: there is none) can do it. The same answer on every rank of the process set.
Status check_support(const Collectives* backend, const Declaration& d, std::size_t members) {
  const ReduceOp op = effective_reduction(d, static_cast<int>(members)).op;
  if (backend != nullptr && backend->supports(d.kind, d.dtype, op)) return {};
  return Status::unimplemented(text(describe(d), ": ",
                                    backend ? text("backend '", backend->name(), "' has no ")
                                            : text("no backend for ", name_of(d.device), " tensors, so no "),
                                    name_of(d.kind), " of ", name_of(d.dtype), " with ", name_of(op),
                                    ". hvdrun --check-build shows what there is."));
}

}  // namespace

Execution::Execution(int rank, DeclarationTable& declarations, std::vector<Collectives*> collectives,
                     std::size_t fusion_threshold_bytes, Logbook& logbook, Position& position)
    : rank_(rank),
      declarations_(declarations),
      logbook_(logbook),
      position_(position),
      backends_(std::move(collectives)),
      fusion_threshold_bytes_(fusion_threshold_bytes) {}

Status Execution::run(std::span<const Agreement> agreements, PendingOperations& pending) {
  release_completed();
  for (const Agreement& agreement : agreements) {
    if (agreement.status.is_ok()) continue;
    if (auto operation = pending.extract(agreement.wire_id)) finish(operation.mapped(), agreement.status);
  }
  for (const Batch& batch : plan_fusion(agreements, fusion_threshold_bytes_)) {
    position_.begin_batch();
    HVD_RETURN_IF_ERROR(run_batch(batch, agreements, pending));
    logbook_.timeline().flush_if_behind();
  }
  return {};
}

Status Execution::run_batch(const Batch& batch, std::span<const Agreement> agreements,
                            PendingOperations& pending) {
  const Agreement& first = agreements[batch.front()];
  const Declaration& declaration = *first.declaration;
  for (const std::size_t member : batch) {
    const auto found = pending.find(agreements[member].wire_id);
    if (found == pending.end()) continue;
    logbook_.recorder().record(Happening::begun,
                               static_cast<std::uint32_t>(found->second.submission.id.index),
                               static_cast<std::uint32_t>(agreements[member].last_rank + 1));
  }
  BackendOutcome outcome;
  switch (declaration.kind) {
    case OpKind::add_process_set:
    case OpKind::remove_process_set:
      HVD_RETURN_IF_ERROR(change_process_sets(first));
      outcome.result = {first.number};
      break;
    case OpKind::join:
      outcome.result = {first.number};
      break;
    case OpKind::barrier:  // that every rank has submitted it is all there is to it
      break;
    default: {
      const auto members = declarations_.members(declaration.process_set);
      const int position = position_in(*members, rank_);
      if (position < 0) return {};
      Collectives* backend = backends_.find(declaration.process_set, declaration.device.type);
      outcome.status = check_support(backend, declaration, members->size());
      if (!outcome.status.is_ok()) break;
      std::vector<BackendOperand> operands;
      operands.reserve(batch.size());
      for (const std::size_t member : batch) {
        const auto found = pending.find(agreements[member].wire_id);
        operands.push_back(
            {&agreements[member], found == pending.end() ? nullptr : &found->second.submission});
      }
      const auto begin = std::chrono::steady_clock::now();
      Result<BackendOutcome> result = call_backend(*backend, operands, *members, position);
      in_backends_ns_ += (std::chrono::steady_clock::now() - begin).count();
      // A backend that fails has left the other ranks in the middle of the operation: nothing can go on.
      if (!result.is_ok()) {
        return result.status().with_prefix(text("rank ", rank_, ", ", describe(declaration), ": "));
      }
      outcome = std::move(result).value();
      outcome.status = outcome.status.with_prefix(text("rank ", rank_, ", "));
    }
  }
  for (const std::size_t member : batch) {
    if (auto operation = pending.extract(agreements[member].wire_id)) {
      finish(operation.mapped(), outcome.status, outcome.completion, outcome.result);
    }
  }
  return {};
}

void Execution::release_completed() {
  Completion last;  // a batch has one completion: it is asked once
  while (!in_flight_.empty()) {
    const Completion& completion = in_flight_.front().completion;
    if (completion != last) {
      const auto is_complete = completion->is_complete();
      if (!is_complete.is_ok() || !is_complete.value()) return;
    }
    last = completion;
    in_flight_.pop_front();
  }
}

void Execution::drain(Deadline deadline) {
  if (!in_flight_.empty()) static_cast<void>(in_flight_.back().completion->synchronize(deadline));
  release_completed();
}

Status Execution::change_process_sets(const Agreement& agreement) {
  const Declaration& declaration = *agreement.declaration;
  if (declaration.kind == OpKind::remove_process_set) {
    backends_.close(declaration.process_set);
    declarations_.remove_process_set(declaration.process_set);
    return {};
  }
  const Status status = backends_.open(agreement.number, declaration.ranks, Deadline::never());
  HVD_RETURN_IF_ERROR(status.with_prefix(text("rank ", rank_, ", ", describe(declaration), ": ")));
  declarations_.add_process_set(declaration.ranks);
  return {};
}

void Execution::finish(PendingOperation& operation, const Status& status, const Completion& completion,
                       std::vector<std::int64_t> result) {
  if (completion && operation.submission.keep_alive) {
    in_flight_.push_back({completion, std::move(operation.submission.keep_alive)});
  }
  operation.submission.keep_alive.reset();
  operation.submission.allocate = nullptr;
  if (operation.submission.on_announced) std::exchange(operation.submission.on_announced, nullptr)();
  logbook_.recorder().record(status.is_ok() ? Happening::ended : Happening::failed,
                             static_cast<std::uint32_t>(operation.submission.id.index));
  // The name is free before the waiter wakes: he may submit it again at once.
  declarations_.end(operation.submission.id);
  operation.state->finish(status, completion, std::move(result));
}

}  // namespace hvd
