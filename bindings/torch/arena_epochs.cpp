#include "bindings/torch/arena_epochs.h"

#include <algorithm>

#include "horovod_cpp/base/log.h"
#include "horovod_cpp/base/text.h"

namespace hvd {

ArenaEpochs::ArenaEpochs(Session& session, std::shared_ptr<Epochs> epochs, ArenaPlan plan,
                         std::vector<std::string> names, std::string suffix)
    : session_(session),
      epochs_(std::move(epochs)),
      plan_(std::move(plan)),
      names_(std::move(names)),
      suffix_(std::move(suffix)) {
  begin_epoch();
}

void ArenaEpochs::arrive(std::size_t gradient) {
  epochs_->own_flags()[plan_.flag[gradient]] = std::byte{1};
  const std::size_t bucket = plan_.bucket[gradient];
  if (--missing_[bucket] == 0) epochs_->publish(bucket);
}

void ArenaEpochs::begin_epoch() {
  missing_.clear();
  for (const EpochBucket& bucket : plan_.epochs.buckets) missing_.push_back(bucket.flag_count);
  std::fill(epochs_->own_flags().begin(), epochs_->own_flags().end(), std::byte{0});
}

void ArenaEpochs::close(const CloseWord& word) {
  epochs_->close(word);
  closed_at_ = std::chrono::steady_clock::now();
  stall_is_told_ = false;
}

std::optional<EpochOutcome> ArenaEpochs::wait(Deadline deadline) {
  auto outcome = epochs_->wait(deadline.earlier(Deadline::after(std::chrono::milliseconds(500))));
  if (!outcome) watch_for_stall();
  return outcome;
}

Status ArenaEpochs::failure_of(const EpochOutcome& outcome) const {
  const Status& why = epochs_->failure();
  // Another rank may have read of it first.
  if (why.code() == StatusCode::aborted) session_.abort(why);
  if (!outcome.counts_differ) return why;
  return Status::mismatch(
      text(why.message(),
           ", so steps are mixed up and parameters may differ. Take the same number of backwards a step "
           "on every rank, and restart from a checkpoint. This step is dropped on all of them."));
}

std::string ArenaEpochs::who_is_awaited(const std::vector<Epochs::Awaited>& awaited) const {
  std::string words;
  for (const Epochs::Awaited& one : awaited) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < names_.size(); ++i) {
      const auto& buckets = one.unpublished;
      if (std::find(buckets.begin(), buckets.end(), plan_.bucket[i]) != buckets.end())
        names.push_back(names_[i]);
    }
    words += text(words.empty() ? "" : "; ", "rank ", one.rank);
    if (!names.empty()) {
      words += text(", which still has to produce ", names.size(), " of ", names_.size(), " gradients ('",
                    names.front(), names.size() > 1 ? "', …)" : "')");
    }
    const std::string trouble = session_.trouble_of(one.rank);
    if (!trouble.empty()) words += ", and " + trouble;
  }
  return words;
}

void ArenaEpochs::watch_for_stall() {
  const Config& config = session_.config();
  const auto waited =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - closed_at_);
  const bool warns = config.stall_warning.count() > 0 && waited >= config.stall_warning && !stall_is_told_;
  const bool ends = config.stall_shutdown.count() > 0 && waited >= config.stall_shutdown;
  if (!warns && !ends) return;
  const auto awaited = epochs_->awaited();
  if (awaited.empty()) return;
  const std::string story = text("rank ", session_.rank(), " has waited ", waited.count(),
                                 " s at the end of a backward", suffix_, " for ", who_is_awaited(awaited));
  if (warns) {
    stall_is_told_ = true;
    Log(config.log_level, session_.rank())
        .warning(story + ". Either that rank is slow, or it takes another path through the program.");
    session_.tell_picture("a backward is late");
  }
  if (ends) {
    session_.abort(Status::aborted(story + "; ended because HVD_STALL_SHUTDOWN_TIME_SECONDS asks for it"));
  }
}

}  // namespace hvd
