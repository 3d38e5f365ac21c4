#include <cstring>

#include "ops/host/requests.h"
#include "ops/shm/slots.h"

namespace hvd {
namespace {

// In front of the first window: how many windows this rank needs. The others cannot know.
using WindowCount = std::uint64_t;
constexpr std::size_t kFrontBytes = Slots::kLineBytes;

}  // namespace

// A slot is divided evenly among the ranks: division r holds window w of what is for rank r.
Status shm_alltoall(Slots& slots, const AlltoallRequest& request) {
  std::vector<ByteRange> sent = parts_by_rank(request.send_counts, request.dtype);
  ByteRange& to_itself = sent[static_cast<std::size_t>(slots.rank())];
  to_itself.end = to_itself.begin;  // goes no detour
  const std::vector<ByteRange> received = parts_by_rank(request.receive_counts, request.dtype);
  const std::size_t window_bytes = slots.division_bytes(slots.tuning().window_bytes - kFrontBytes);
  const auto* const input = static_cast<const std::byte*>(request.input);
  auto* const output = static_cast<std::byte*>(request.output);

  const auto place_of = [&](std::byte* slot, int rank) {
    return slot + kFrontBytes + static_cast<std::size_t>(rank) * window_bytes;
  };
  const auto stage = [&](std::uint64_t index, std::byte* slot) {
    for (int rank = 0; rank < slots.size(); ++rank) {
      const ByteRange theirs = window_of(sent[static_cast<std::size_t>(rank)], index, window_bytes);
      if (theirs.empty()) continue;
      std::memcpy(place_of(slot, rank), input + theirs.begin, theirs.size());
    }
  };
  const auto collect = [&](std::uint64_t index, std::uint64_t step) {
    return slots.for_each_peer([&](int peer) -> Status {
      const ByteRange mine = window_of(received[static_cast<std::size_t>(peer)], index, window_bytes);
      if (mine.empty()) return {};
      HVD_RETURN_IF_ERROR(slots.board().wait(Progress::staged, peer, step, request.deadline));
      std::memcpy(output + mine.begin, place_of(slots.at(peer, step), slots.rank()), mine.size());
      return {};
    });
  };

  WindowCount needed = (longest_of(sent) + window_bytes - 1) / window_bytes;
  const std::uint64_t first = slots.take(1).first;
  HVD_RETURN_IF_ERROR(slots.stage(first, request.deadline, [&](std::byte* slot) {
    std::memcpy(slot, &needed, sizeof(needed));
    stage(0, slot);
  }));
  HVD_RETURN_IF_ERROR(slots.wait_until_all_arrived(first, request.deadline));
  HVD_RETURN_IF_ERROR(collect(0, first));
  HVD_RETURN_IF_ERROR(slots.for_each_peer([&](int peer) -> Status {
    WindowCount theirs = 0;
    std::memcpy(&theirs, slots.at(peer, first), sizeof(theirs));
    needed = std::max(needed, theirs);
    return {};
  }));
  slots.board().publish(Progress::done, first);
  if (needed <= 1) return {};
  return slots.stage_and_collect(
      slots.take(needed - 1), request.deadline,
      [&](std::uint64_t index, std::byte* slot) { stage(index + 1, slot); },
      [&](std::uint64_t index, std::uint64_t step) { return collect(index + 1, step); });
}

}  // namespace hvd
