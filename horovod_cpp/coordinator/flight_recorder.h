// FlightRecorder: the last events of one rank in a ring. It serves the timeline, which follows it, and pictures, which look back.
//
// Threading: record may be called from any thread; it takes no lock, allocates nothing, and waits for nobody. So may everything else.
// A thread that is held up within record() while the ring goes round once can spoil one event; readers skip it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "horovod_cpp/ports/clock.h"

namespace hvd {

enum class Happening : std::uint8_t {
  // An operation (subject: the index of its TensorId):
  submitted,
  announced,  // all ranks know of it
  begun,      // number: the only rank that it waited for, plus one; 0: not known
  ended,
  failed,
  // A bucket of an epoch (subject: bucket_subject):
  published,
  all_ready,  // seen by the rank that reduces its first piece
  reduced,    // … its last piece
  // An epoch (subject: bucket_subject of bucket 0; number: the epoch):
  closed,
  awaits,   // number: the lowest rank that has not closed
  decided,  // number: the EpochState
  // This rank:
  step,   // number: how many it has taken
  round,  // of negotiation, if the timeline wants them
};

struct RecordedEvent {
  Clock::time_point when;
  Happening what = Happening::round;
  std::uint32_t subject = 0;
  std::uint32_t number = 0;
};

class FlightRecorder {
 public:
  // Room for the last thousand operations, at the five events each of them has, three times over.
  static constexpr std::uint64_t kCapacity = std::uint64_t{1} << 14U;

  explicit FlightRecorder(std::shared_ptr<const Clock> clock);

  void record(Happening what, std::uint32_t subject = 0, std::uint32_t number = 0);
  // How many events there have been.
  std::uint64_t count() const { return next_.load(std::memory_order_acquire); }

  struct Reading {
    std::vector<RecordedEvent> events;
    std::uint64_t next = 0;  // where to go on
    std::uint64_t lost = 0;  // overwritten before they were read
  };
  // Events from number `from` on, as far as they are complete.
  Reading read(std::uint64_t from) const;
  // The last `most` of them.
  std::vector<RecordedEvent> last(std::uint64_t most) const;

  Clock::time_point now() const { return clock_->now(); }

  // A plan of epochs, and what each of its buckets holds. Returns its number.
  std::uint32_t add_plan(const std::string& name, std::vector<std::vector<std::string>> contents);
  static std::uint32_t bucket_subject(std::uint32_t plan, std::size_t bucket) {
    return (plan << kBucketBits) | (static_cast<std::uint32_t>(bucket) & ((1U << kBucketBits) - 1));
  }
  static std::uint32_t bucket_of(std::uint32_t subject) { return subject & ((1U << kBucketBits) - 1); }
  static std::uint32_t plan_of(std::uint32_t subject) { return subject >> kBucketBits; }
  // "bucket 3: conv1.weight and 1 more".
  std::string bucket_name(std::uint32_t subject) const;
  // "conv1.weight, conv1.bias".
  std::string bucket_contents(std::uint32_t subject) const;
  std::string plan_name(std::uint32_t subject) const;

  // Optimizer steps of this rank.
  void mark_step();
  std::uint32_t steps() const { return steps_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::uint32_t kBucketBits = 20;
  // `ticket` is the event's number plus one; 0 while it is written.
  struct Slot {
    std::atomic<std::uint64_t> ticket{0};
    std::atomic<std::uint64_t> when_and_what{0};  // nanoseconds since start_ << 8 | what
    std::atomic<std::uint64_t> subject_and_number{0};
  };
  struct Plan {
    std::string name;
    std::vector<std::vector<std::string>> contents;
  };
  std::vector<std::string> contents_of(std::uint32_t subject) const;
  enum class Look { complete, unfinished, overwritten };
  Look look(std::uint64_t number, RecordedEvent& out) const;

  const std::shared_ptr<const Clock> clock_;
  const Clock::time_point start_;
  const std::unique_ptr<Slot[]> slots_;
  std::atomic<std::uint64_t> next_{0};
  std::atomic<std::uint32_t> steps_{0};
  mutable std::mutex mutex_;
  std::vector<Plan> plans_;
};

}  // namespace hvd
