// Coordinator: the loop that agrees with the other ranks on what to do next, and does it.
//
// One round: take what was submitted here, swap reports with all ranks (Transport), let the Negotiator find what is ready everywhere,
// fuse it, have the Collectives do it, end the Work. A rank with news starts a round; the others are woken by its report. Without
// news everybody sleeps.
//
// Threading: run() is one thread's; submit, call, leave may be called from any thread. Rounds are done by run()'s thread, or by one that has borrowed
// its turn (turns.h). The parts are not owned.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "horovod_cpp/base/abort_latch.h"
#include "horovod_cpp/base/config.h"
#include "horovod_cpp/base/queue.h"
#include "horovod_cpp/coordinator/declaration_table.h"
#include "horovod_cpp/coordinator/execution.h"
#include "horovod_cpp/coordinator/logbook.h"
#include "horovod_cpp/coordinator/negotiator.h"
#include "horovod_cpp/coordinator/pending.h"
#include "horovod_cpp/coordinator/position.h"
#include "horovod_cpp/coordinator/stall_monitor.h"
#include "horovod_cpp/coordinator/turns.h"
#include "horovod_cpp/ports/clock.h"
#include "horovod_cpp/ports/collectives.h"
#include "horovod_cpp/ports/transport.h"

namespace hvd {

class Coordinator {
 public:
  struct Parts {
    int rank;
    int size;
    const Config& config;
    Transport& control;
    std::vector<Collectives*> collectives;
    DeclarationTable& declarations;
    AbortLatch& latch;
    const Clock& clock;
    std::function<void(const Status&)> fail;  // latches the Session and wakes everyone who blocks
    Logbook& logbook;
    std::function<void()> tell_picture;               // of what all ranks are doing; does not block
    std::function<std::string(int rank)> trouble_of;  // as of a Watcher
  };
  explicit Coordinator(Parts parts);

  // Takes the operations or, once the loop is over, ends them.
  void submit(std::vector<PendingOperation> operations);
  // As submit(), for a caller that does nothing but wait until is_over(): does the rounds itself, if it is its turn, until then or a failure. May
  // return earlier.
  void call(std::vector<PendingOperation> operations, const std::function<bool()>& is_over);
  // From the next round on this rank tells the others that it submits nothing more.
  void leave();
  // The timeline has been switched on or off.
  void notice_timeline() { parts_.control.notify(); }

  // Returns when every rank has left, or after a failure. Everything submitted has ended then.
  void run();

  // Of Execution. From any thread.
  std::chrono::nanoseconds time_in_backends() const { return execution_.time_in_backends(); }
  // Where run() is. From any thread.
  const Position& position() const { return position_; }

  // Destroys the backends of process sets. After run().
  void close_process_sets() { execution_.close_process_sets(); }
  // Ends the calls of backends that belong to process sets. From any thread.
  void abort_process_sets(const Status& why) { execution_.abort(why); }

 private:
  void put(std::vector<PendingOperation> operations);
  void wake();
  Status do_rounds();
  bool has_news();
  Result<bool> wait_for_news();
  Status round();
  Status guarded_round();
  Report report_of(const std::vector<PendingOperation>& operations) const;
  Status swap(const Report& mine, std::vector<Report>& all);
  void remember_news();
  Status check_stalls();

  Parts parts_;
  Log log_;
  Negotiator negotiator_;
  StallMonitor stalls_;
  Position position_;
  Execution execution_;
  Queue<PendingOperation> queue_;
  std::vector<PendingOperation> news_;  // taken from the queue, not reported yet
  PendingOperations pending_;
  // wire id → TensorId last declared to the others
  std::unordered_map<std::uint32_t, std::int32_t> announced_;
  Turns turns_;
  const bool may_lend_;
  bool has_call_ = false;  // one of the pending operations is awaited, or was
  Status of_last_round_;
  std::atomic<bool> is_leaving_{false};
  bool is_leaving_now_ = false;  // said in this round
  std::atomic<bool> has_said_leaving_{false};
};

}  // namespace hvd
