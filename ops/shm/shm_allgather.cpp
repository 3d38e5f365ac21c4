#include <cstring>

#include "ops/host/requests.h"
#include "ops/shm/slots.h"

namespace hvd {

// Window w of a rank is window w of its part. Who has none left in a window is not waited for.
Status shm_allgather(Slots& slots, const AllgatherRequest& request) {
  const std::vector<ByteRange> parts = parts_by_rank(request.counts, request.dtype);
  const std::size_t longest = longest_of(parts);
  const std::size_t window_bytes = slots.window_bytes_for(longest);
  const auto window = [&](int rank, std::uint64_t index) {
    return window_of(parts[static_cast<std::size_t>(rank)], index, window_bytes);
  };
  auto* const output = static_cast<std::byte*>(request.output);
  const auto* const input = static_cast<const std::byte*>(request.input);
  const std::size_t input_begin = parts[static_cast<std::size_t>(slots.rank())].begin;
  const auto stage = [&](std::uint64_t index, std::byte* slot) {
    const ByteRange own = window(slots.rank(), index);
    if (!own.empty()) std::memcpy(slot, input + (own.begin - input_begin), own.size());
  };
  const auto collect = [&](std::uint64_t index, std::uint64_t step) {
    return slots.for_each_peer([&](int peer) -> Status {
      const ByteRange theirs = window(peer, index);
      if (theirs.empty()) return {};
      HVD_RETURN_IF_ERROR(slots.board().wait(Progress::staged, peer, step, request.deadline));
      std::memcpy(output + theirs.begin, slots.at(peer, step), theirs.size());
      return {};
    });
  };
  return slots.stage_and_collect(slots.take((longest + window_bytes - 1) / window_bytes), request.deadline,
                                 stage, collect);
}

}  // namespace hvd
