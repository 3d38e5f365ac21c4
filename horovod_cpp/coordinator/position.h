// Position: where the coordinator of a rank is, as a number that only grows and means the same on all ranks, which do the same rounds and
// batches in the same order.
//
// Threading: one thread moves it, any thread reads it.
#pragma once

#include <atomic>
#include <cstdint>

namespace hvd {

class Position {
 public:
  void begin_round() { value_.store((value_.load() & ~kPlace) | 1); }
  void begin_batch() { value_.fetch_add(1); }
  void end_round() { value_.store((value_.load() & ~kPlace) + kPlace + 1); }

  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

  static bool is_in_round(std::uint64_t value) { return (value & kPlace) != 0; }
  // Not yet agreed on what to do.
  static bool is_negotiating(std::uint64_t value) { return (value & kPlace) == 1; }

 private:
  static constexpr std::uint64_t kPlace = (std::uint64_t{1} << 24U) - 1;  // within a round; 0: not in one
  std::atomic<std::uint64_t> value_{0};
};

}  // namespace hvd
