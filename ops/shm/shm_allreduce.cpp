#include "ops/host/requests.h"
#include "ops/shm/slots.h"

namespace hvd {
namespace {

ByteRange part_of_rank(const Slots& slots, ByteRange window, int rank) {
  return part_of(window, static_cast<std::size_t>(rank), static_cast<std::size_t>(slots.size()));
}

// Every rank shows its whole batch and reduces everybody's: one synchronisation.
Status reduce_small(Slots& slots, const AllreduceRequest& request, const PackedArray& array) {
  const std::uint64_t step = slots.take(1).first;
  HVD_RETURN_IF_ERROR(
      slots.stage(step, request.deadline, [&](std::byte* slot) { pack_inputs(array, array.all(), slot); }));
  HVD_RETURN_IF_ERROR(slots.wait_until_all_arrived(step, request.deadline));
  reduce_range(slots.kernels(), request, array, array.all(), slots.packed_at(step, 0), nullptr);
  slots.board().publish(Progress::done, step);
  return {};
}

Status stage(Slots& slots, const AllreduceRequest& request, const PackedArray& array, ByteRange window,
             std::uint64_t step) {
  const ByteRange own = part_of_rank(slots, window, slots.rank());
  return slots.stage(step, request.deadline, [&](std::byte* slot) {
    pack_inputs(array, {window.begin, own.begin}, slot);
    pack_inputs(array, {own.end, window.end}, slot + (own.end - window.begin));
  });
}

Status reduce_own_part(Slots& slots, const AllreduceRequest& request, const PackedArray& array,
                       ByteRange window, std::uint64_t step) {
  HVD_RETURN_IF_ERROR(slots.for_each_peer(
      [&](int peer) { return slots.board().wait(Progress::staged, peer, step, request.deadline); }));
  const ByteRange own = part_of_rank(slots, window, slots.rank());
  const std::size_t offset = own.begin - window.begin;
  reduce_range(slots.kernels(), request, array, own, slots.packed_at(step, offset),
               slots.at(slots.rank(), step) + offset);
  slots.board().publish(Progress::reduced, step);
  return {};
}

Status collect(Slots& slots, const AllreduceRequest& request, const PackedArray& array, ByteRange window,
               std::uint64_t step) {
  HVD_RETURN_IF_ERROR(slots.for_each_peer([&](int peer) -> Status {
    const ByteRange part = part_of_rank(slots, window, peer);
    HVD_RETURN_IF_ERROR(slots.board().wait(Progress::reduced, peer, step, request.deadline));
    unpack_outputs(array, part, slots.at(peer, step) + (part.begin - window.begin));
    return {};
  }));
  slots.board().publish(Progress::done, step);
  return {};
}

}  // namespace

// Beyond small batches every rank shows what the others own of a window,
// reduces what it owns itself, and takes the rest from the others.
Status shm_allreduce(Slots& slots, const AllreduceRequest& request, const PackedArray& array) {
  if (array.size_bytes() <= slots.tuning().small_bytes) return reduce_small(slots, request, array);
  const std::size_t window_bytes = slots.window_bytes_for(array.size_bytes());
  const Steps steps = slots.take((array.size_bytes() + window_bytes - 1) / window_bytes);
  const auto window = [&](std::uint64_t index) { return window_of(array.all(), index, window_bytes); };
  for (std::uint64_t i = 0; i < steps.count + 2; ++i) {
    const std::uint64_t step = steps.first + i;
    if (i < steps.count) HVD_RETURN_IF_ERROR(stage(slots, request, array, window(i), step));
    if (i >= 1 && i <= steps.count)
      HVD_RETURN_IF_ERROR(reduce_own_part(slots, request, array, window(i - 1), step - 1));
    if (i >= 2) HVD_RETURN_IF_ERROR(collect(slots, request, array, window(i - 2), step - 2));
  }
  return {};
}

}  // namespace hvd
