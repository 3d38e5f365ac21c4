// What the ranks of a benchmark share, beside the contenders' own means:
// a barrier that sleeps, and everybody's times.
//
// A spinning barrier would take the core from contenders' background threads;
// that of one contender would favour it.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace hvd::bench {

inline constexpr int kMostRanks = 64;

// Lies in zeroed memory shared by all ranks of one host. One clock for all: the system's monotonic one.
struct Board {
  using Clock = std::chrono::steady_clock;

  std::atomic<std::uint32_t> arrived;
  std::atomic<std::uint32_t> generation;
  std::atomic<std::uint32_t> failed;
  std::array<Clock::time_point, kMostRanks> started;
  std::array<Clock::time_point, kMostRanks> finished;

  // Sleeps until `size` ranks are here; false after a minute, or once any rank has failed.
  bool meet(int size);
  // Ends everybody's meetings.
  void fail();
};

}  // namespace hvd::bench
