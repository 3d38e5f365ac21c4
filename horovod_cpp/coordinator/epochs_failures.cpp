// How ranks of an epoch learn that it fails, who is to blame, and whom they wait for; and what is recorded of it.
#include <sched.h>

#include <algorithm>
#include <cstring>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/epoch_page.h"
#include "horovod_cpp/coordinator/epochs.h"
#include "horovod_cpp/coordinator/flight_recorder.h"

namespace hvd {

std::optional<Status> Epochs::who_left() const {
  for (int member = 0; member < size(); ++member) {
    const EpochPage& page = page_of(member);
    if (member == memory_->member() || page.left.is_said.load() == 0) continue;
    // Read after the flag: one that has closed this epoch has done its part of it.
    if (epoch_of(close_word(member, epoch_).load()) == epoch_) continue;
    return Status(static_cast<StatusCode>(page.left.code), page.left.why);
  }
  return std::nullopt;
}

void Epochs::say_why(const Status& why, bool is_leaving) {
  const std::lock_guard lock(why_mutex_);
  EpochPage& page = page_of(memory_->member());
  EpochReason& reason = is_leaving ? page.left : page.given_up;
  if (reason.is_said.load() != 0) return;
  reason.code = static_cast<std::uint32_t>(why.code());
  const std::size_t length = std::min(why.message().size(), sizeof(reason.why) - 1);
  std::memcpy(reason.why, why.message().data(), length);
  reason.why[length] = '\0';
  reason.is_said.store(1);
}

void Epochs::leave(const Status& why) {
  // Nobody else finishes a chunk that this rank has claimed.
  while (reducing_.load() > 0) ::sched_yield();
  say_why(why, /*is_leaving=*/true);
  ring_all();
}

void Epochs::abort(const Status& why) {
  if (latch_.set(why)) page_of(memory_->member()).bell.ring();
}

Status Epochs::why_failed(const EpochOutcome& outcome) const {
  const int own = ranks_[static_cast<std::size_t>(memory_->member())];
  if (outcome.counts_differ) {
    std::string words;
    for (int member = 0; member < size(); ++member) {
      const CloseWord word = decode_close(close_word(member, epoch_).load());
      if (word.is_gone) continue;
      words += text(words.empty() ? "" : ", ", "rank ", ranks_[static_cast<std::size_t>(member)],
                    " at number ", word.count + 1);
    }
    return Status::mismatch(
        text("rank ", own, ": ranks are at different backwards since their last step(): ", words));
  }
  if (latch_.is_set()) return latch_.status();
  for (int member = 0; member < size(); ++member) {
    const EpochReason& reason = page_of(member).given_up;
    if (reason.is_said.load() == 0) continue;
    return {static_cast<StatusCode>(reason.code), text("rank ", own, ": ", reason.why)};
  }
  return Status::internal(text("rank ", own, ": the step failed, and nobody has said why"));
}

std::vector<Epochs::Awaited> Epochs::awaited() const {
  std::vector<Awaited> all;
  const std::uint64_t epoch = epoch_;
  for (int member = 0; member < size(); ++member) {
    // One that is further must have closed.
    if (epoch_of(close_word(member, epoch).load()) >= epoch) continue;
    Awaited one{ranks_[static_cast<std::size_t>(member)], {}};
    for (std::size_t bucket = 0; has_plan_ && bucket < plan_.buckets.size(); ++bucket) {
      if (ready_word(member, bucket).load() < epoch) one.unpublished.push_back(bucket);
    }
    all.push_back(std::move(one));
  }
  return all;
}

std::optional<std::chrono::steady_clock::time_point> Epochs::awaits_since() const {
  const std::chrono::steady_clock::duration since{closed_at_ns_.load()};
  if (since.count() == 0) return std::nullopt;
  return std::chrono::steady_clock::time_point(since);
}

void Epochs::record(Happening what, std::size_t bucket, std::uint64_t number) const {
  if (!record_.recorder) return;
  record_.recorder->record(what, FlightRecorder::bucket_subject(record_.plan, bucket),
                           static_cast<std::uint32_t>(number));
}

void Epochs::record_whom_it_awaits() const {
  if (!record_.recorder || closed_at_ns_.load() == 0) return;
  for (int member = 0; member < size(); ++member) {
    if (epoch_of(close_word(member, epoch_).load()) >= epoch_) continue;
    return record(Happening::awaits, 0, static_cast<std::uint64_t>(ranks_[static_cast<std::size_t>(member)]));
  }
}

}  // namespace hvd
