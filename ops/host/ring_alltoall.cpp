#include "ops/host/requests.h"
#include "ops/host/ring.h"

namespace hvd {

Status ring_alltoall(Ring& ring, const AlltoallRequest& request) {
  const std::vector<ByteRange> sent = parts_by_rank(request.send_counts, request.dtype);
  const std::vector<ByteRange> received = parts_by_rank(request.receive_counts, request.dtype);
  const auto from_input = [&](int to) {
    const ByteRange range = sent[static_cast<std::size_t>(to)];
    return std::span(static_cast<const std::byte*>(request.input) + range.begin, range.size());
  };
  const auto into_output = [&](int from) {
    const ByteRange range = received[static_cast<std::size_t>(from)];
    return std::span(static_cast<std::byte*>(request.output) + range.begin, range.size());
  };
  return exchange_with_all(ring, from_input, into_output, request.deadline);
}

}  // namespace hvd
