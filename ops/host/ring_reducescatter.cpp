#include <algorithm>

#include "ops/host/requests.h"
#include "ops/host/ring.h"

namespace hvd {

// As an allreduce with windows of which every rank owns at most part_bytes; the results stay where they are.
Status ring_reducescatter(Ring& ring, const ReducescatterRequest& request) {
  const std::vector<ByteRange> parts = parts_by_rank(request.counts, request.dtype);
  const TensorSlice own_slice = own_part(request, ring.rank());
  const AllreduceRequest reduction = reduction_of(request, own_slice);
  const PackedArray array(reduction.slices, size_in_bytes(request.dtype));
  const std::size_t longest = longest_of(parts), step_bytes = ring.tuning.part_bytes;
  std::vector<const std::byte*> inputs(static_cast<std::size_t>(ring.size()), nullptr);
  for (std::size_t begin = 0; begin < longest; begin += step_bytes) {
    const ByteRange own{std::min(array.size_bytes(), begin),
                        std::min(array.size_bytes(), begin + step_bytes)};
    ring.received.resize(own.size() * static_cast<std::size_t>(ring.size()));
    const auto sent = [&](int to) {
      const ByteRange part = parts[static_cast<std::size_t>(to)];
      const std::size_t first = std::min(part.end, part.begin + begin);
      const std::size_t last = std::min(part.end, first + step_bytes);
      return std::span(static_cast<const std::byte*>(request.input) + first, last - first);
    };
    const auto place = [&](int from) {
      const auto at =
          std::span(ring.received).subspan(own.size() * static_cast<std::size_t>(from), own.size());
      inputs[static_cast<std::size_t>(from)] = at.data();
      return at;
    };
    HVD_RETURN_IF_ERROR(exchange_with_all(ring, sent, place, request.deadline));
    reduce_range(ring.kernels, reduction, array, own, inputs, nullptr);
  }
  return {};
}

}  // namespace hvd
