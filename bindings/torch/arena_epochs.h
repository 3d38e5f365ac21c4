// ArenaEpochs: epochs by gradient. Knows no tensor: where a gradient lies is plan().begin_bytes, counted from epochs().payload().
//
// One epoch: the caller writes each gradient and says so (arrive), closes, and waits for the outcome; then, unless it failed, begins the next
// one. What has not arrived is as it is in memory, so the caller writes that too (zeros) before it closes.
// Memory: the rule of epochs.h. Not thread-safe, but for epochs() and wait(), which may go on while others read.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bindings/torch/arena_plan.h"
#include "horovod_cpp/coordinator/epochs.h"
#include "horovod_cpp/session.h"

namespace hvd {

class ArenaEpochs {
 public:
  // `epochs` was opened for plan.epochs by `session`, which must outlive this. names[i]: of gradient i; `suffix`: whose; both for people.
  ArenaEpochs(Session& session, std::shared_ptr<Epochs> epochs, ArenaPlan plan,
              std::vector<std::string> names, std::string suffix);

  Epochs& epochs() const { return *epochs_; }
  const ArenaPlan& plan() const { return plan_; }
  std::byte* memory_of(std::size_t gradient) const {
    return epochs_->payload() + plan_.begin_bytes[gradient];
  }

  // The memory of `gradient` is this epoch's. Publishes its bucket if that is complete.
  void arrive(std::size_t gradient);
  // Says the last word of this epoch, and publishes what has not been.
  void close(const CloseWord& word);
  // Nothing: not decided before `deadline`, or within half a second. Warns, and ends the job, as HVD_STALL_* say.
  std::optional<EpochOutcome> wait(Deadline deadline);
  // Why the outcome says that the epoch failed, for the rank's user. Ends the Session if that has not happened yet.
  Status failure_of(const EpochOutcome& outcome) const;

  // After an outcome: whether some rank had this gradient. The next epoch may begin then.
  bool is_used_somewhere(std::size_t gradient) const { return epochs_->is_used(plan_.flag[gradient]); }
  void begin_epoch();

 private:
  void watch_for_stall();
  std::string who_is_awaited(const std::vector<Epochs::Awaited>& awaited) const;

  Session& session_;
  const std::shared_ptr<Epochs> epochs_;
  const ArenaPlan plan_;
  const std::vector<std::string> names_;
  const std::string suffix_;
  std::vector<std::size_t> missing_;  // [bucket] gradients that have not arrived in this epoch
  std::chrono::steady_clock::time_point closed_at_;
  bool stall_is_told_ = false;
};

}  // namespace hvd
