// Execution: does what the ranks have agreed on, in that order, and ends the Work.
//
// Threading: run belongs to the coordinator's thread; abort and time_in_backends may be called from any thread, never block.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/coordinator/agreement.h"
#include "horovod_cpp/coordinator/backends.h"
#include "horovod_cpp/coordinator/declaration_table.h"
#include "horovod_cpp/coordinator/fusion_planner.h"
#include "horovod_cpp/coordinator/pending.h"

namespace hvd {

class Logbook;
class Position;

class Execution {
 public:
  // `declarations`, `logbook` and `position` are not owned. collectives: as of SessionParts, not owned.
  Execution(int rank, DeclarationTable& declarations, std::vector<Collectives*> collectives,
            std::size_t fusion_threshold_bytes, Logbook& logbook, Position& position);

  // Takes out of `pending` what it ends. A failed Status: the world has failed, and what is left in `pending` is for the caller to end.
  Status run(std::span<const Agreement> agreements, PendingOperations& pending);
  // Ends one operation.
  void finish(PendingOperation& operation, const Status& status, const Completion& completion = nullptr,
              std::vector<std::int64_t> result = {});
  // Waits, as long as `deadline` allows, for what devices still work on, and lets its memory go. Memory that is still in use then is kept
  // until this object's end: the backends must be gone by then.
  void drain(Deadline deadline);
  void close_process_sets() { backends_.close_all(); }
  // How long calls of backends have taken.
  std::chrono::nanoseconds time_in_backends() const {
    return std::chrono::nanoseconds(in_backends_ns_.load());
  }
  // Ends the current and later calls of the backends of process sets.
  void abort(const Status& why) { backends_.abort(why); }

 private:
  Status run_batch(const Batch& batch, std::span<const Agreement> agreements, PendingOperations& pending);
  Status change_process_sets(const Agreement& agreement);
  void release_completed();

  const int rank_;
  DeclarationTable& declarations_;
  Logbook& logbook_;
  Position& position_;
  Backends backends_;
  const std::size_t fusion_threshold_bytes_;
  std::atomic<std::int64_t> in_backends_ns_{0};
  // Enqueued on a device: the Work is done, the memory is still in use.
  struct InFlight {
    Completion completion;
    std::shared_ptr<void> memory;
  };
  std::deque<InFlight> in_flight_;  // in the order of enqueueing
};

}  // namespace hvd
