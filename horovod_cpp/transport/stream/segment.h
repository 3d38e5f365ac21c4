// What a rank's segment of shared memory holds: a page of words about the rank, then one ring to each rank
// (its own is not used).
//
// Nothing here is trusted: every position that a peer wrote is checked before it is used.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace hvd {

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

inline constexpr std::size_t kCacheLineBytes = 64;

struct RankPage {
  // The rank sleeps on doorbell, after it set asleep;
  // whoever clears asleep again changes the doorbell and wakes it.
  alignas(kCacheLineBytes) std::atomic<std::uint32_t> doorbell;
  alignas(kCacheLineBytes) std::atomic<std::uint32_t> asleep;
  // Not 0: this rank writes and reads no more.
  alignas(kCacheLineBytes) std::atomic<std::uint32_t> left;
  // 1 + the rank that aborted first; written by that rank. Its page says why.
  alignas(kCacheLineBytes) std::atomic<std::uint32_t> aborted_by;
  // Why this rank aborted; written once, before any aborted_by names this rank.
  alignas(kCacheLineBytes) std::uint32_t reason_bytes;
  char reason[508];
};

// Positions count bytes since the beginning and never decrease.
struct Ring {
  alignas(kCacheLineBytes) std::atomic<std::uint64_t> written;  // by the owner of the segment
  alignas(kCacheLineBytes) std::atomic<std::uint64_t> read;     // by the peer
};

// Bytes in each ring of a group of `size` ranks:
// a power of two, so chosen that a rank's segment stays about 1 MiB.
std::size_t ring_capacity_bytes(int size);

// Where things are in a segment.
struct Segment {
  std::byte* base = nullptr;
  std::size_t capacity_bytes = 0;

  RankPage& page() const { return *reinterpret_cast<RankPage*>(base); }
  Ring& ring_to(int peer) const { return *reinterpret_cast<Ring*>(ring_start(peer)); }
  std::byte* ring_data(int peer) const { return ring_start(peer) + sizeof(Ring); }

 private:
  std::byte* ring_start(int peer) const {
    return base + sizeof(RankPage) + static_cast<std::size_t>(peer) * (sizeof(Ring) + capacity_bytes);
  }
};

}  // namespace hvd
