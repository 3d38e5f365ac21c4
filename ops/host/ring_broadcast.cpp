#include <algorithm>

#include "ops/host/ring.h"

namespace hvd {
namespace {

// Position p (the root's is 0) receives from p without its highest bit,
// then serves p + 2^k for the k above that bit.
Status send_down_tree(Ring& ring, const BroadcastRequest& request, const PackedArray& array) {
  Bytes& packed = ring.packed;
  packed.resize(array.size_bytes());
  const int position = ring.around(-request.root);
  int bit = 1;
  while (bit <= position) bit *= 2;
  if (position == 0) {
    pack_inputs(array, array.all(), packed.data());
  } else {
    const int parent = ring.around(-bit / 2);
    HVD_RETURN_IF_ERROR(ring.transport.exchange(parent, {}, parent, packed, request.deadline));
  }
  for (; position + bit < ring.size(); bit *= 2) {
    const int child = ring.around(bit);
    HVD_RETURN_IF_ERROR(ring.transport.exchange(child, packed, child, {}, request.deadline));
  }
  if (position != 0) unpack_outputs(array, array.all(), packed.data());
  return {};
}

// While window w arrives from the rank before, window w − 1 leaves for the rank behind.
Status send_along_chain(Ring& ring, const BroadcastRequest& request, const PackedArray& array) {
  const int position = ring.around(-request.root);
  const bool receives = position != 0, sends = position != ring.size() - 1;
  const std::size_t total = array.size_bytes(), step_bytes = ring.tuning.link_bytes;
  for (std::size_t begin = 0; begin < total + step_bytes; begin += step_bytes) {
    const ByteRange arriving{std::min(total, begin), std::min(total, begin + step_bytes)};
    const ByteRange leaving{begin == 0 ? 0 : begin - step_bytes, arriving.begin};
    std::swap(ring.packed, ring.received);  // what arrived is what leaves
    ring.received.resize(arriving.size());
    if (!receives) {
      ring.packed.resize(leaving.size());
      pack_inputs(array, leaving, ring.packed.data());
    }
    const std::span<const std::byte> out =
        sends && !leaving.empty() ? std::span<const std::byte>(ring.packed) : std::span<const std::byte>();
    const std::span<std::byte> in = receives ? std::span<std::byte>(ring.received) : std::span<std::byte>();
    if (!out.empty() || !in.empty()) {
      HVD_RETURN_IF_ERROR(
          ring.transport.exchange(ring.around(1), out, ring.around(-1), in, request.deadline));
    }
    if (receives) unpack_outputs(array, arriving, ring.received.data());
  }
  return {};
}

}  // namespace

Status ring_broadcast(Ring& ring, const BroadcastRequest& request, const PackedArray& array) {
  return array.size_bytes() <= ring.tuning.chain_bytes ? send_down_tree(ring, request, array)
                                                       : send_along_chain(ring, request, array);
}

}  // namespace hvd
