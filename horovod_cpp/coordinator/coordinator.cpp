#include "horovod_cpp/coordinator/coordinator.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "horovod_cpp/base/text.h"

namespace hvd {

Coordinator::Coordinator(Parts parts)
    : parts_(std::move(parts)),
      log_(parts_.config.log_level, parts_.rank),
      negotiator_(parts_.size),
      stalls_(parts_.rank, parts_.config.stall_warning, parts_.config.stall_shutdown),
      execution_(parts_.rank, parts_.declarations, parts_.collectives, parts_.config.fusion_threshold_bytes,
                 parts_.logbook, position_),
      may_lend_(parts_.control.may_change_threads() &&
                std::ranges::all_of(parts_.collectives, [](const Collectives* collectives) {
                  return collectives->may_change_threads();
                })) {}

void Coordinator::put(std::vector<PendingOperation> operations) {
  for (PendingOperation& operation : operations) {
    if (queue_.put(operation)) continue;
    const Status why = parts_.latch.status();
    execution_.finish(operation, why.is_ok() ? Status::shut_down(text("rank ", parts_.rank, ", ",
                                                                      describe(*operation.declaration),
                                                                      ": the Session was shut down"))
                                             : why);
  }
}

// Whoever does the rounds now, or should.
void Coordinator::wake() {
  parts_.control.notify();
  turns_.want_back();
}

void Coordinator::submit(std::vector<PendingOperation> operations) {
  put(std::move(operations));
  wake();
}

void Coordinator::call(std::vector<PendingOperation> operations, const std::function<bool()>& is_over) {
  for (PendingOperation& operation : operations) operation.is_awaited = true;
  put(std::move(operations));
  if (!may_lend_) return wake();
  {
    const Turns::Turn turn = turns_.try_borrow();
    if (!turn) return wake();
    const auto goes_on = [&] { return of_last_round_.is_ok() && !negotiator_.everyone_left(); };
    while (goes_on() && !is_over()) of_last_round_ = guarded_round();
    if (goes_on() && pending_.empty() && !has_news()) return;
  }
  turns_.want_back();
}

void Coordinator::leave() {
  is_leaving_.store(true);
  wake();
}

// Until every rank has left (ok), or a failure.
Status Coordinator::do_rounds() {
  while (true) {
    turns_.wait_while_lent([this] { return has_news(); });
    const Turns::Turn turn = turns_.take();
    HVD_RETURN_IF_ERROR(of_last_round_);
    if (negotiator_.everyone_left()) return {};
    of_last_round_ = guarded_round();
    HVD_RETURN_IF_ERROR(of_last_round_);
    if (has_call_ && pending_.empty() && may_lend_) {
      has_call_ = false;
      turns_.lend();
    }
  }
}

Status Coordinator::guarded_round() {
  try {
    return round();
  } catch (const std::exception& error) {
    return Status::internal(text("rank ", parts_.rank, ", coordinator: ", error.what()));
  }
}

void Coordinator::run() {
  Status status = do_rounds();
  if (status.is_ok()) {
    status = Status::shut_down("every rank has shut down before this operation was submitted everywhere");
  } else {
    parts_.fail(status);
    status = parts_.latch.status();
  }
  for (PendingOperation& operation : queue_.close()) execution_.finish(operation, status);
  for (PendingOperation& operation : news_) {
    if (operation.state) execution_.finish(operation, status);
  }
  for (auto& [id, operation] : pending_) execution_.finish(operation, status);
  news_.clear();
  pending_.clear();
  // A device that has stopped answering must not keep the process.
  execution_.drain(Deadline::after(std::chrono::seconds(5)));
}

bool Coordinator::has_news() { return !queue_.is_empty() || (is_leaving_.load() && !has_said_leaving_); }

// True if there is a reason for a round.
Result<bool> Coordinator::wait_for_news() {
  // Read before the queue: what was submitted before leave() must not be reported after it.
  is_leaving_now_ = is_leaving_.load() && !has_said_leaving_;
  news_ = queue_.take_all();
  if (!news_.empty() || is_leaving_now_) return true;
  const bool watch_stalls = stalls_.is_on() && negotiator_.has_waiting();
  Deadline deadline = watch_stalls ? Deadline::after(stalls_.interval()) : Deadline::never();
  if (parts_.logbook.timeline().is_on()) deadline = deadline.earlier(Deadline::after(Timeline::kInterval));
  return parts_.control.wait(deadline);
}

Status Coordinator::round() {
  parts_.logbook.timeline().flush_if_due();
  const Result<bool> is_due = wait_for_news();
  HVD_RETURN_IF_ERROR(is_due.status());
  HVD_RETURN_IF_ERROR(check_stalls());
  if (!is_due.value()) return {};

  if (parts_.logbook.timeline().marks_cycles()) parts_.logbook.recorder().record(Happening::round);
  const Report mine = report_of(news_);
  has_said_leaving_ = has_said_leaving_ || mine.is_leaving;
  std::vector<Report> reports;
  position_.begin_round();
  HVD_RETURN_IF_ERROR(swap(mine, reports));
  const Result<std::vector<Agreement>> agreements = negotiator_.step(reports);
  HVD_RETURN_IF_ERROR(agreements.status());
  remember_news();
  HVD_RETURN_IF_ERROR(execution_.run(agreements.value(), pending_));
  position_.end_round();
  return {};
}

Report Coordinator::report_of(const std::vector<PendingOperation>& operations) const {
  Report report;
  report.is_leaving = is_leaving_now_;
  for (const PendingOperation& operation : operations) {
    const auto id = negotiator_.wire_id(*operation.declaration);
    const auto announced = id ? announced_.find(*id) : announced_.end();
    if (announced != announced_.end() && announced->second == operation.submission.id.index) {
      report.ready.push_back({false, *id, operation.submission.extents});
    } else {
      report.ready.push_back(
          {true, static_cast<std::uint32_t>(report.declarations.size()), operation.submission.extents});
      report.declarations.push_back(*operation.declaration);
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
  for (PendingOperation& operation : news_) {
    const std::uint32_t id = *negotiator_.wire_id(*operation.declaration);
    parts_.logbook.recorder().record(Happening::announced,
                                     static_cast<std::uint32_t>(operation.submission.id.index));
    announced_[id] = operation.submission.id.index;
    has_call_ = has_call_ || operation.is_awaited;
    if (operation.submission.on_announced) std::exchange(operation.submission.on_announced, nullptr)();
    pending_.emplace(id, std::move(operation));
  }
  news_.clear();
}

Status Coordinator::check_stalls() {
  if (!stalls_.is_on() || !negotiator_.has_waiting()) return {};
  const auto waiting = negotiator_.waiting();
  StallMonitor::Verdict verdict = stalls_.check(parts_.clock.now(), waiting, parts_.trouble_of);
  for (const std::string& warning : verdict.warnings) log_.warning(warning);
  if (!verdict.warnings.empty()) parts_.tell_picture();
  return verdict.end;
}

}  // namespace hvd
