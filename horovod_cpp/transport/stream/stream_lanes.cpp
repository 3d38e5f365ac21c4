#include "horovod_cpp/transport/stream/stream_lanes.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <utility>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/transport/framing/framed_transport.h"
#include "horovod_cpp/transport/stream/stream.h"

// A sleeper is never missed: it sets `asleep` and then looks at its condition; who changes the condition
// looks at `asleep` afterwards. All four accesses are sequentially consistent, so at least one of the two
// sees the other. The doorbell is read before `asleep` is set and changed before the wake, so a wake between
// the look and the sleep is not lost either.

namespace hvd {

std::size_t ring_capacity_bytes(int size) {
  constexpr std::size_t kSegmentBytes = std::size_t{1} << 20;
  return std::clamp(std::bit_floor(kSegmentBytes / static_cast<std::size_t>(size)), std::size_t{4} << 10,
                    std::size_t{64} << 10);
}

std::size_t stream_segment_bytes(int size) {
  return sizeof(RankPage) + static_cast<std::size_t>(size) * (sizeof(Ring) + ring_capacity_bytes(size));
}

StreamLanes::StreamLanes(int rank, std::vector<MappedMemory> memories, const char* name)
    : rank_(rank),
      name_(name),
      memories_(std::move(memories)),
      positions_(memories_.size()),
      patience_(SpinLimits::for_ranks(static_cast<int>(memories_.size()))) {
  const int size = static_cast<int>(memories_.size());
  for (MappedMemory& memory : memories_) {
    segments_.push_back({memory.data, ring_capacity_bytes(size)});
    memory.file.reset();  // a descriptor less
  }
}

StreamLanes::~StreamLanes() {
  segment(rank_).page().left.store(1);
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank_) ring_doorbell_anyway(peer);
  }
}

std::uint64_t StreamLanes::readable_bytes(int peer) const {
  return segment(peer).ring_to(rank_).written.load() - positions(peer).read;
}

std::uint64_t StreamLanes::writable_bytes(int peer) const {
  const Segment& mine = segment(rank_);
  return mine.capacity_bytes - (positions(peer).written - mine.ring_to(peer).read.load());
}

Status StreamLanes::nonsense(int peer) const {
  return Status::internal(
      text("rank ", peer, " wrote nonsense into shared memory: its positions are out of range"));
}

Status StreamLanes::trouble_with(int peer) const {
  const std::uint32_t aborted_by = segment(rank_).page().aborted_by.load(std::memory_order_acquire);
  if (aborted_by > 0 && aborted_by <= segments_.size()) {
    const int culprit = static_cast<int>(aborted_by) - 1;
    const RankPage& page = segment(culprit).page();
    const std::size_t length = std::min<std::size_t>(page.reason_bytes, sizeof(page.reason));
    return Status::aborted(text("rank ", culprit, " gave up: ", std::string(page.reason, length)));
  }
  if (segment(peer).page().left.load(std::memory_order_acquire) != 0) {
    return Status::aborted(text("rank ", peer, " has left"));
  }
  return {};
}

void StreamLanes::ring_doorbell(int rank) const {
  RankPage& page = segment(rank).page();
  if (page.asleep.load() == 0 || page.asleep.exchange(0) == 0) return;
  page.doorbell.fetch_add(1);
  futex_wake_all(page.doorbell);
}

// For the end of things: a rank that was killed within ring_doorbell may have left `asleep` at 0 and the sleeper asleep.
void StreamLanes::ring_doorbell_anyway(int rank) const {
  RankPage& page = segment(rank).page();
  page.asleep.store(0);
  page.doorbell.fetch_add(1);
  futex_wake_all(page.doorbell);
}

Result<std::size_t> StreamLanes::write_some(int peer, std::span<const std::byte> first,
                                            std::span<const std::byte> second) {
  const Segment& mine = segment(rank_);
  const std::size_t capacity = mine.capacity_bytes;
  const std::uint64_t free_bytes = writable_bytes(peer);
  if (free_bytes > capacity) return nonsense(peer);
  if (free_bytes == 0) {
    if (Status trouble = trouble_with(peer); !trouble.is_ok()) return trouble;
    return std::size_t{0};
  }
  std::uint64_t& position = positions(peer).written;
  std::size_t taken = 0;
  for (std::span<const std::byte> piece : {first, second}) {
    piece = piece.first(std::min<std::size_t>(piece.size(), free_bytes - taken));
    taken += piece.size();
    while (!piece.empty()) {
      const std::size_t offset = position & (capacity - 1);
      const std::size_t run = std::min(piece.size(), capacity - offset);
      std::memcpy(mine.ring_data(peer) + offset, piece.data(), run);
      position += run;
      piece = piece.subspan(run);
    }
  }
  mine.ring_to(peer).written.store(position);
  ring_doorbell(peer);
  return taken;
}

Result<std::size_t> StreamLanes::read_some(int peer, std::span<std::byte> bytes) {
  const Segment& theirs = segment(peer);
  const std::size_t capacity = theirs.capacity_bytes;
  std::uint64_t available = readable_bytes(peer);
  if (available == 0) {
    const Status trouble = trouble_with(peer);
    // What was written before the peer left is still read.
    available = readable_bytes(peer);
    if (available == 0 && !trouble.is_ok()) return trouble;
  }
  if (available > capacity) return nonsense(peer);
  bytes = bytes.first(std::min<std::size_t>(bytes.size(), available));
  const std::size_t taken = bytes.size();
  if (taken == 0) return taken;
  std::uint64_t& position = positions(peer).read;
  while (!bytes.empty()) {
    const std::size_t offset = position & (capacity - 1);
    const std::size_t run = std::min(bytes.size(), capacity - offset);
    std::memcpy(bytes.data(), theirs.ring_data(rank_) + offset, run);
    position += run;
    bytes = bytes.subspan(run);
  }
  theirs.ring_to(rank_).read.store(position);
  ring_doorbell(peer);
  return taken;
}

Result<bool> StreamLanes::any_readable() {
  Status trouble;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank_) continue;
    if (trouble.is_ok()) trouble = trouble_with(peer);
    const std::uint64_t available = readable_bytes(peer);
    if (available > segment(peer).capacity_bytes) return nonsense(peer);
    if (available > 0) return true;
  }
  if (!trouble.is_ok()) return trouble;
  return false;
}

bool StreamLanes::is_worth_waking(std::span<const int> readers, std::span<const int> writers) {
  if (woken_.load() && woken_.exchange(false)) return true;
  if (segment(rank_).page().aborted_by.load() != 0) return true;
  const auto has_left = [this](int peer) { return segment(peer).page().left.load() != 0; };
  return std::ranges::any_of(readers,
                             [&](int peer) { return readable_bytes(peer) != 0 || has_left(peer); }) ||
         std::ranges::any_of(writers, [&](int peer) { return writable_bytes(peer) != 0 || has_left(peer); });
}

Status StreamLanes::sleep(std::span<const int> readers, std::span<const int> writers, Deadline deadline) {
  if (patience_.is_over_soon([&] { return is_worth_waking(readers, writers); })) return {};
  RankPage& page = segment(rank_).page();
  const std::uint32_t seen = page.doorbell.load();
  page.asleep.store(1);
  if (!is_worth_waking(readers, writers)) futex_wait(page.doorbell, seen, deadline);
  page.asleep.store(0);
  return {};
}

void StreamLanes::wake() {
  woken_.store(true);
  ring_doorbell(rank_);
}

void StreamLanes::hang_up(const Status& why) {
  RankPage& page = segment(rank_).page();
  const std::string& reason = why.message();
  page.reason_bytes = static_cast<std::uint32_t>(std::min(reason.size(), sizeof(page.reason)));
  std::memcpy(page.reason, reason.data(), page.reason_bytes);
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank_) continue;
    std::uint32_t nobody = 0;
    segment(peer).page().aborted_by.compare_exchange_strong(nobody, static_cast<std::uint32_t>(rank_) + 1);
    ring_doorbell_anyway(peer);
  }
  ring_doorbell_anyway(rank_);
}

Result<std::unique_ptr<Transport>> make_stream_transport(int rank, std::vector<MappedMemory> segments,
                                                         const char* name) {
  const std::size_t needed = stream_segment_bytes(static_cast<int>(segments.size()));
  for (std::size_t peer = 0; peer < segments.size(); ++peer) {
    if (segments[peer].size_bytes < needed) {
      return Status::internal(text("rank ", rank, ": rank ", peer, " shares ", segments[peer].size_bytes,
                                   " bytes where ", needed, " are needed: ranks run different versions"));
    }
  }
  return make_framed_transport(std::make_unique<StreamLanes>(rank, std::move(segments), name));
}

Result<std::unique_ptr<Transport>> open_stream_transport(MemoryExchange& memory, const char* name,
                                                         Deadline deadline) {
  auto segments = memory.allocate(stream_segment_bytes(memory.size()), deadline);
  if (!segments.is_ok()) return segments.status();
  return make_stream_transport(memory.rank(), std::move(segments).value(), name);
}

}  // namespace hvd
