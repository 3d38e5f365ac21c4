#include <algorithm>

#include "ops/host/requests.h"
#include "ops/host/ring.h"

namespace hvd {
namespace {

ByteRange part_of_rank(const Ring& ring, ByteRange window, int rank) {
  return part_of(window, static_cast<std::size_t>(rank), static_cast<std::size_t>(ring.size()));
}

std::span<std::byte> in_packed(Ring& ring, ByteRange window, ByteRange part) {
  return std::span(ring.packed).subspan(part.begin - window.begin, part.size());
}

Status gather_and_reduce(Ring& ring, const AllreduceRequest& request, const PackedArray& array) {
  ring.packed.resize(array.size_bytes());
  pack_inputs(array, array.all(), ring.packed.data());
  HVD_RETURN_IF_ERROR(ring.transport.all_gather(ring.packed, ring.gathered, request.deadline));
  std::vector<const std::byte*> inputs;
  for (const Bytes& bytes : ring.gathered) {
    if (bytes.size() != array.size_bytes()) {
      return Status::internal("ranks disagree about the size of a batch");
    }
    inputs.push_back(bytes.data());
  }
  reduce_range(ring.kernels, request, array, array.all(), inputs, nullptr);
  return {};
}

// Afterwards this rank's part of the window is reduced, in the outputs and in ring.packed.
Status collect_own_part(Ring& ring, const AllreduceRequest& request, const PackedArray& array,
                        ByteRange window) {
  const ByteRange own = part_of_rank(ring, window, ring.rank());
  ring.received.resize(own.size() * static_cast<std::size_t>(ring.size()));
  const auto sent = [&](int to) { return in_packed(ring, window, part_of_rank(ring, window, to)); };
  const auto place = [&](int from) {
    return std::span(ring.received).subspan(own.size() * static_cast<std::size_t>(from), own.size());
  };
  HVD_RETURN_IF_ERROR(exchange_with_all(ring, sent, place, request.deadline));
  std::vector<const std::byte*> inputs;
  for (int rank = 0; rank < ring.size(); ++rank)
    inputs.push_back(rank == ring.rank() ? nullptr : place(rank).data());
  reduce_range(ring.kernels, request, array, own, inputs, in_packed(ring, window, own).data());
  return {};
}

}  // namespace

Status ring_allreduce(Ring& ring, const AllreduceRequest& request, const PackedArray& array) {
  if (array.size_bytes() <= ring.tuning.small_bytes) return gather_and_reduce(ring, request, array);
  const std::size_t window_bytes = ring.tuning.part_bytes * static_cast<std::size_t>(ring.size());
  for (std::size_t begin = 0; begin < array.size_bytes(); begin += window_bytes) {
    const ByteRange window{begin, std::min(array.size_bytes(), begin + window_bytes)};
    const ByteRange own = part_of_rank(ring, window, ring.rank());
    ring.packed.resize(window.size());
    std::byte* const behind_own = ring.packed.data() + (own.end - window.begin);
    pack_inputs(array, {window.begin, own.begin}, ring.packed.data());
    pack_inputs(array, {own.end, window.end}, behind_own);
    HVD_RETURN_IF_ERROR(collect_own_part(ring, request, array, window));
    const auto part = [&](int rank) { return in_packed(ring, window, part_of_rank(ring, window, rank)); };
    HVD_RETURN_IF_ERROR(pass_around(ring, part, request.deadline));
    unpack_outputs(array, {window.begin, own.begin}, ring.packed.data());
    unpack_outputs(array, {own.end, window.end}, behind_own);
  }
  return {};
}

}  // namespace hvd
