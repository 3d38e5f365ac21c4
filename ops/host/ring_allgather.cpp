#include <cstring>

#include "ops/host/requests.h"
#include "ops/host/ring.h"

namespace hvd {
namespace {

// One round of messages instead of size() − 1, at the price of a copy.
Status gather_small(Ring& ring, const AllgatherRequest& request, const std::vector<ByteRange>& parts) {
  auto* const output = static_cast<std::byte*>(request.output);
  const ByteRange own = parts[static_cast<std::size_t>(ring.rank())];
  HVD_RETURN_IF_ERROR(
      ring.transport.all_gather({output + own.begin, own.size()}, ring.gathered, request.deadline));
  for (std::size_t rank = 0; rank < parts.size(); ++rank) {
    const Bytes& bytes = ring.gathered[rank];
    if (bytes.size() != parts[rank].size())
      return Status::internal("ranks disagree about the size of their parts");
    if (!bytes.empty()) std::memcpy(output + parts[rank].begin, bytes.data(), bytes.size());
  }
  return {};
}

}  // namespace

Status ring_allgather(Ring& ring, const AllgatherRequest& request) {
  const std::vector<ByteRange> parts = parts_by_rank(request.counts, request.dtype);
  if (parts.back().end <= ring.tuning.small_bytes) return gather_small(ring, request, parts);
  const auto part = [&](int rank) {
    const ByteRange range = parts[static_cast<std::size_t>(rank)];
    return std::span(static_cast<std::byte*>(request.output) + range.begin, range.size());
  };
  return pass_around(ring, part, request.deadline);
}

}  // namespace hvd
