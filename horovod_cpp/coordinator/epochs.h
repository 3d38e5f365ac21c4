// Epochs: the steady state. The ranks of one host reduce the same buckets again and again, in memory that they share, without a message.
//
// One epoch, on each rank: write into payload() and own_flags(), publish() each bucket, close(), wait(). Whoever has time reduces what all
// have published: in help(), and while it waits. docs/protocol.md ("Epochs") has the rules and why each is there; tests/model checks them.
//
// Memory rule: a rank writes a bucket's part of payload() and own_flags() only before it publishes it and after wait() has returned the
// outcome of the epoch before.
//
// Threading: publish, close and wait are one thread's at a time; help, leave, abort, awaited and awaits_since may be called from any thread.
// Only wait() waits for other ranks; leave() lets the threads of this one finish what they reduce.
// Ownership: views of payload() must keep own_memory().mapping. Other ranks may map this rank's memory for as long as they like.
// Errors: wait() tells of a failed epoch; it is the last one.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "horovod_cpp/base/abort_latch.h"
#include "horovod_cpp/base/bell.h"
#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/patience.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/coordinator/epoch_plan.h"
#include "horovod_cpp/coordinator/epoch_words.h"
#include "horovod_cpp/ports/registered_memory.h"

namespace hvd {

struct EpochWord;
struct EpochPage;
class FlightRecorder;
enum class Happening : std::uint8_t;

// Where an Epochs records what happens. A value; may be empty.
struct EpochsRecord {
  std::shared_ptr<FlightRecorder> recorder = nullptr;
  std::uint32_t plan = 0;  // FlightRecorder::add_plan
};

class Epochs {
 public:
  // `memory` is new, of EpochLayout(plan).total_bytes on every rank. ranks[m]: what member m is called in messages.
  Epochs(std::unique_ptr<RegisteredMemory> memory, EpochPlan plan, std::vector<int> ranks, SpinLimits spin,
         EpochsRecord record = {});
  ~Epochs() = default;
  Epochs(const Epochs&) = delete;
  Epochs& operator=(const Epochs&) = delete;

  const EpochPlan& plan() const { return plan_; }
  std::byte* payload() const { return own() + layout_.payload; }
  std::span<std::byte> own_flags() const { return {own() + layout_.own_flags, plan_.flags}; }
  const MappedMemory& own_memory() const;

  // Whether buckets are still reduced. After an outcome that leaves, epochs have close words only. From any thread.
  bool has_plan() const { return has_plan_; }
  bool is_published(std::size_t bucket) const { return is_published_[bucket]; }
  void publish(std::size_t bucket);
  // Reduces this rank's share of what all ranks have published, of the next few buckets at least. Waits for nobody.
  void help();
  // Publishes the rest, as it is, and says the last word of this epoch.
  void close(const CloseWord& word);
  // Reduces, sleeps, until this epoch is decided: the next one begins, unless it failed or a rank is gone. Nothing: the deadline passed.
  std::optional<EpochOutcome> wait(Deadline deadline);

  // After wait(), until the first publish() of the next epoch:
  bool is_used(std::size_t flag) const { return own()[layout_.combined_flags + flag] != std::byte{0}; }
  int void_ranks() const { return void_ranks_; }
  double sum_of_squares() const { return sum_of_squares_; }
  // How long threads of this rank have reduced in help(), together.
  std::chrono::nanoseconds time_helped() const { return time_helped_; }
  // The same of payload() as it is now: the same bits, unless it was written.
  double sum_of_own_squares() const;
  // Why the epoch failed: mismatch if the ranks' counts differ, shut_down if a rank left, aborted otherwise.
  const Status& failure() const { return failure_; }

  // This rank closes no further epoch: others that wait for it end with `why`. The first call counts.
  void leave(const Status& why);
  // Ends the current or next wait() with `why`, unless the epoch is decided. The first call counts.
  void abort(const Status& why);

  // For messages: what the current epoch lacks.
  struct Awaited {
    int rank;
    std::vector<std::size_t> unpublished;  // buckets
  };
  std::vector<Awaited> awaited() const;
  // When this rank closed the current epoch; nothing before.
  std::optional<std::chrono::steady_clock::time_point> awaits_since() const;
  const EpochsRecord& recorded_as() const { return record_; }

 private:
  int size() const { return static_cast<int>(ranks_.size()); }
  std::byte* memory_of(int member) const;
  std::byte* own() const { return memory_of(memory_->member()); }
  EpochPage& page_of(int member) const;
  std::atomic<std::uint64_t>& word(int member, std::size_t begin, std::size_t bucket) const;
  std::atomic<std::uint64_t>& ready_word(int member, std::size_t bucket) const;
  std::atomic<std::uint64_t>& claim_word(std::size_t bucket) const;
  std::atomic<std::uint64_t>& done_word(std::size_t bucket) const;
  std::atomic<std::uint64_t>& close_word(int member, std::uint64_t epoch) const;
  std::atomic<std::uint64_t>& outcome_word(std::uint64_t epoch) const;
  double* squares() const;

  void ring_all() const;
  std::uint64_t published_everywhere(std::size_t bucket) const;
  bool is_claimable(std::size_t bucket) const;
  bool reduce_claimable();
  bool reduce_bucket(std::size_t bucket, std::uint64_t most_chunks);
  RegisteredRange range_of(std::size_t bucket, std::size_t chunk) const;
  void reduce_chunk(std::size_t bucket, std::size_t chunk) const;
  void combine_flags(const EpochBucket& bucket) const;

  bool all_closed() const;
  bool all_done() const;
  std::span<const CloseWord> read_close_words();
  std::optional<Status> who_left() const;
  std::optional<EpochOutcome> look();
  bool is_worth_waking() const;
  void say_why(const Status& why, bool is_leaving);
  EpochOutcome obey(const EpochOutcome& outcome);
  Status why_failed(const EpochOutcome& outcome) const;
  void record(Happening what, std::size_t bucket, std::uint64_t number = 0) const;
  void record_whom_it_awaits() const;

  const std::unique_ptr<RegisteredMemory> memory_;
  const EpochPlan plan_;
  const EpochLayout layout_;
  const std::vector<int> ranks_;
  Patience patience_;  // of wait()
  const EpochsRecord record_;
  AbortLatch latch_;
  std::mutex why_mutex_;  // of this rank's page

  std::atomic<std::uint64_t> epoch_{1};
  std::atomic<std::int64_t> closed_at_ns_{0};  // the current epoch; 0: not yet
  std::atomic<bool> has_plan_{true};
  std::atomic<int> reducing_{0};  // threads
  std::vector<bool> is_published_;
  std::vector<CloseWord> close_words_;  // [member], of the current epoch as they were last read
  int void_ranks_ = 0;
  double sum_of_squares_ = 0.0;
  std::atomic<std::int64_t> helping_ns_{0};  // the current epoch
  std::chrono::nanoseconds time_helped_{};
  Status failure_;
};

}  // namespace hvd
