// Board: how ranks of one host tell each other how far they are, through memory that all of them map.
//
// Every rank owns a few counters that only it writes and that only grow. The
// others wait until one reaches a value. Waiting spins, then yields, then
// sleeps in the kernel (base/bell.h); publishing makes no system call unless somebody sleeps.
//
// Threading: publish and wait belong to one thread at a time;
// abort may be called from any thread, never blocks.
// Ownership: the memory of every rank lives as long as the Board.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "horovod_cpp/base/abort_latch.h"
#include "horovod_cpp/base/bell.h"
#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/patience.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/ports/memory_exchange.h"

namespace hvd {

enum class Progress : std::uint8_t { staged = 0, reduced = 1, done = 2 };
inline constexpr int kProgressCount = 3;

// What a rank shows the others, at the beginning of its shared memory. Zeroed memory is its initial state.
struct BoardPage {
  // One a pair of cache lines: processors fetch neighbours together.
  struct alignas(128) Counter {
    std::atomic<std::uint64_t> value;
  };
  Counter counters[kProgressCount];
  Bell bell;
  // 1 + the rank that ended the group; 0: nobody has. Its own page says why.
  alignas(128) std::atomic<std::uint32_t> aborted_by;
  char why[512];
};
static_assert(sizeof(BoardPage) <= 4096 && std::atomic<std::uint64_t>::is_always_lock_free);

class Board {
 public:
  static constexpr std::size_t kBytes = 4096;

  // memory[r] is rank r's; the first kBytes of each belong to the Board.
  Board(std::vector<MappedMemory> memory, int rank, SpinLimits spin);

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(memory_.size()); }
  // Rank r's memory behind its page.
  std::byte* memory_of(int rank) const { return memory_[static_cast<std::size_t>(rank)].data + kBytes; }

  // This rank's counter becomes `value`, and everything written before is visible to who has seen it.
  void publish(Progress progress, std::uint64_t value);

  // Until rank `peer`'s counter is at least `value`. What it wrote before publishing is visible then. A
  // counter that has arrived counts, even when the group was aborted since.
  Status wait(Progress progress, int peer, std::uint64_t value, Deadline deadline);

  // Ends current and later waits of this rank with `why`, and those of all others with a message that quotes
  // it. The first call counts.
  void abort(const Status& why);
  // ok, or what ended the group on this rank.
  Status failure();

 private:
  BoardPage& page_of(int rank) const;
  Status wait_long(Progress progress, int peer, std::uint64_t value, Deadline deadline);
  void sleep(Progress progress, int peer, std::uint64_t value, Deadline deadline);

  std::vector<MappedMemory> memory_;
  int rank_;
  Patience patience_;
  AbortLatch latch_;
};

}  // namespace hvd
