#include "ops/shm/slots.h"

namespace hvd {

// The root shows windows, the others collect them. Only the root waits for slots: nobody else writes any.
Status shm_broadcast(Slots& slots, const BroadcastRequest& request, const PackedArray& array) {
  const std::size_t window_bytes = slots.window_bytes_for(array.size_bytes());
  const Steps steps = slots.take((array.size_bytes() + window_bytes - 1) / window_bytes);
  for (std::uint64_t i = 0; i < steps.count; ++i) {
    const std::uint64_t step = steps.first + i;
    const ByteRange window = window_of(array.all(), i, window_bytes);
    if (slots.rank() == request.root) {
      HVD_RETURN_IF_ERROR(
          slots.stage(step, request.deadline, [&](std::byte* slot) { pack_inputs(array, window, slot); }));
    } else {
      HVD_RETURN_IF_ERROR(slots.board().wait(Progress::staged, request.root, step, request.deadline));
      unpack_outputs(array, window, slots.at(request.root, step));
    }
    slots.board().publish(Progress::done, step);
  }
  return {};
}

}  // namespace hvd
