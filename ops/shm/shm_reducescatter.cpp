#include <cstring>

#include "ops/host/requests.h"
#include "ops/shm/slots.h"

namespace hvd {

// A slot is divided evenly among the ranks: division r holds window w of rank r's part. Every rank reduces its own straight
// from the slots into its output.
Status shm_reducescatter(Slots& slots, const ReducescatterRequest& request) {
  const std::vector<ByteRange> parts = parts_by_rank(request.counts, request.dtype);
  const TensorSlice own_slice = own_part(request, slots.rank());
  const AllreduceRequest reduction = reduction_of(request, own_slice);
  const PackedArray array(reduction.slices, size_in_bytes(request.dtype));
  const std::size_t longest = longest_of(parts);
  const std::size_t window_bytes =
      slots.division_bytes(slots.window_bytes_for(longest * static_cast<std::size_t>(slots.size())));
  const auto* const input = static_cast<const std::byte*>(request.input);
  const auto stage = [&](std::uint64_t index, std::byte* slot) {
    for (int rank = 0; rank < slots.size(); ++rank) {
      const ByteRange theirs = window_of(parts[static_cast<std::size_t>(rank)], index, window_bytes);
      if (rank == slots.rank() || theirs.empty()) continue;
      std::memcpy(slot + static_cast<std::size_t>(rank) * window_bytes, input + theirs.begin, theirs.size());
    }
  };
  const auto collect = [&](std::uint64_t index, std::uint64_t step) -> Status {
    const ByteRange own = window_of(array.all(), index, window_bytes);
    if (own.empty()) return {};
    HVD_RETURN_IF_ERROR(slots.for_each_peer(
        [&](int peer) { return slots.board().wait(Progress::staged, peer, step, request.deadline); }));
    reduce_range(slots.kernels(), reduction, array, own,
                 slots.packed_at(step, static_cast<std::size_t>(slots.rank()) * window_bytes), nullptr);
    return {};
  };
  return slots.stage_and_collect(slots.take((longest + window_bytes - 1) / window_bytes), request.deadline,
                                 stage, collect);
}

}  // namespace hvd
