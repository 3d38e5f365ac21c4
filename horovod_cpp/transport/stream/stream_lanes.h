// ByteLanes over segments of shared memory.
#pragma once

#include <atomic>
#include <vector>

#include "horovod_cpp/base/patience.h"
#include "horovod_cpp/ports/memory_exchange.h"
#include "horovod_cpp/transport/framing/byte_lanes.h"
#include "horovod_cpp/transport/stream/segment.h"

namespace hvd {

class StreamLanes final : public ByteLanes {
 public:
  // memories[r].size_bytes >= stream_segment_bytes(memories.size()).
  StreamLanes(int rank, std::vector<MappedMemory> memories, const char* name);
  ~StreamLanes() override;
  StreamLanes(const StreamLanes&) = delete;
  StreamLanes& operator=(const StreamLanes&) = delete;

  const char* name() const override { return name_; }
  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(segments_.size()); }

  Result<std::size_t> write_some(int peer, std::span<const std::byte> first,
                                 std::span<const std::byte> second) override;
  Result<std::size_t> read_some(int peer, std::span<std::byte> bytes) override;
  Result<bool> any_readable() override;
  Status sleep(std::span<const int> readers, std::span<const int> writers, Deadline deadline) override;
  void wake() override;
  void hang_up(const Status& why) override;

 private:
  // This rank's own positions in its rings from and to one peer: shared memory holds copies, for the peer.
  struct Positions {
    std::uint64_t written = 0;
    std::uint64_t read = 0;
  };

  const Segment& segment(int rank) const { return segments_[static_cast<std::size_t>(rank)]; }
  Positions& positions(int peer) { return positions_[static_cast<std::size_t>(peer)]; }
  const Positions& positions(int peer) const { return positions_[static_cast<std::size_t>(peer)]; }
  // Bytes to read from, and free bytes to write to a peer. Over capacity: the peer wrote nonsense.
  std::uint64_t readable_bytes(int peer) const;
  std::uint64_t writable_bytes(int peer) const;
  bool is_worth_waking(std::span<const int> readers, std::span<const int> writers);
  // ok unless a rank has aborted, or `peer` has left.
  Status trouble_with(int peer) const;
  Status nonsense(int peer) const;
  // Wakes the rank if it sleeps.
  void ring_doorbell(int rank) const;
  // Wakes the rank whatever it claims to do.
  void ring_doorbell_anyway(int rank) const;

  const int rank_;
  const char* const name_;
  std::vector<MappedMemory> memories_;
  std::vector<Segment> segments_;
  std::vector<Positions> positions_;
  Patience patience_;
  std::atomic<bool> woken_{false};
};

}  // namespace hvd
