#include "ops/host/ring_collectives.h"

#include <algorithm>
#include <string>
#include <vector>

#include "horovod_cpp/base/abort_latch.h"
#include "horovod_cpp/ports/packing.h"
#include "ops/host/reduce.h"
#include "ops/host/requests.h"

namespace hvd {
namespace {

class RingCollectives final : public Collectives {
 public:
  RingCollectives(Transport& transport, RingTuning tuning)
      : transport_(transport), tuning_(tuning), kernels_(fastest_reduce_kernels()) {}

  const char* name() const override { return "ring"; }
  DeviceType device_type() const override { return DeviceType::cpu; }
  bool supports(OpKind kind, DataType, ReduceOp op) const override { return host_supports(kind, op); }

  Result<Completion> allreduce(const AllreduceRequest& request) override {
    HVD_RETURN_IF_ERROR(check(request));
    HVD_RETURN_IF_ERROR(latch_.status());
    if (size() == 1) {
      allreduce_alone(kernels_, request);
      return Completion{};
    }
    const PackedArray array(request.slices, size_in_bytes(request.dtype));
    if (array.size_bytes() == 0) return Completion{};
    const Status status = array.size_bytes() <= tuning_.small_bytes ? gather_and_reduce(request, array)
                                                                    : reduce_windows(request, array);
    if (!status.is_ok()) return fail(status, describe(name(), request));
    return Completion{};
  }

  Result<Completion> broadcast(const BroadcastRequest& request) override {
    HVD_RETURN_IF_ERROR(check(request, size()));
    HVD_RETURN_IF_ERROR(latch_.status());
    const PackedArray array(request.slices, size_in_bytes(request.dtype));
    if (size() > 1 && array.size_bytes() > 0) {
      const Status status = array.size_bytes() <= tuning_.chain_bytes ? send_down_tree(request, array)
                                                                      : send_along_chain(request, array);
      if (!status.is_ok()) return fail(status, describe(name(), request));
    }
    if (request.root == rank()) copy_inputs_to_outputs(request.slices, request.dtype);
    return Completion{};
  }

  // Filled in by the next commits.
  Result<Completion> allgather(const AllgatherRequest&) override {
    return Status::unimplemented("allgather");
  }
  Result<Completion> alltoall(const AlltoallRequest&) override { return Status::unimplemented("alltoall"); }
  Result<Completion> reducescatter(const ReducescatterRequest&) override {
    return Status::unimplemented("reducescatter");
  }
  Result<std::unique_ptr<Collectives>> subgroup(std::span<const int>, Deadline) override {
    return Status::unimplemented("subgroup");
  }
  Status barrier(Deadline deadline) override {
    HVD_RETURN_IF_ERROR(latch_.status());
    if (size() == 1) return {};
    const Status status = transport_.all_gather({}, gathered_, deadline);
    return status.is_ok() ? status : fail(status, "ring barrier");
  }

  void abort(const Status& why) override {
    latch_.set(why);
    transport_.abort(why);
  }

 private:
  int rank() const { return transport_.rank(); }
  int size() const { return transport_.size(); }
  // The rank that is `distance` further around the ring; negative distances go back.
  int around(int distance) const { return ((rank() + distance) % size() + size()) % size(); }

  Status gather_and_reduce(const AllreduceRequest& request, const PackedArray& array) {
    packed_.resize(array.size_bytes());
    pack_inputs(array, array.all(), packed_.data());
    HVD_RETURN_IF_ERROR(transport_.all_gather(packed_, gathered_, request.deadline));
    std::vector<const std::byte*> inputs;
    for (const Bytes& bytes : gathered_) {
      if (bytes.size() != array.size_bytes()) {
        return Status::internal("ranks disagree about the size of a batch");
      }
      inputs.push_back(bytes.data());
    }
    reduce_range(kernels_, request, array, array.all(), inputs, nullptr);
    return {};
  }

  Status reduce_windows(const AllreduceRequest& request, const PackedArray& array) {
    const std::size_t window_bytes = tuning_.part_bytes * static_cast<std::size_t>(size());
    for (std::size_t begin = 0; begin < array.size_bytes(); begin += window_bytes) {
      const ByteRange window{begin, std::min(array.size_bytes(), begin + window_bytes)};
      const ByteRange own = part_of_rank(window, rank());
      packed_.resize(window.size());
      pack_inputs(array, {window.begin, own.begin}, packed_.data());
      pack_inputs(array, {own.end, window.end}, packed_.data() + (own.end - window.begin));
      HVD_RETURN_IF_ERROR(collect_own_part(request, array, window));
      HVD_RETURN_IF_ERROR(pass_results_around(window, request.deadline));
      unpack_outputs(array, {window.begin, own.begin}, packed_.data());
      unpack_outputs(array, {own.end, window.end}, packed_.data() + (own.end - window.begin));
    }
    return {};
  }

  // Afterwards this rank's part of the window is reduced, in the outputs and in packed_.
  Status collect_own_part(const AllreduceRequest& request, const PackedArray& array, ByteRange window) {
    const ByteRange own = part_of_rank(window, rank());
    received_.resize(own.size() * static_cast<std::size_t>(size()));
    std::vector<const std::byte*> inputs(static_cast<std::size_t>(size()), nullptr);
    for (int distance = 1; distance < size(); ++distance) {
      const int to = around(distance), from = around(-distance);
      const std::span<std::byte> place =
          std::span(received_).subspan(own.size() * static_cast<std::size_t>(from), own.size());
      inputs[static_cast<std::size_t>(from)] = place.data();
      HVD_RETURN_IF_ERROR(transport_.exchange(to, in_packed(window, part_of_rank(window, to)), from, place,
                                              request.deadline));
    }
    reduce_range(kernels_, request, array, own, inputs, in_packed(window, own).data());
    return {};
  }

  Status pass_results_around(ByteRange window, Deadline deadline) {
    for (int step = 0; step < size() - 1; ++step) {
      const ByteRange sent = part_of_rank(window, around(-step));
      const ByteRange expected = part_of_rank(window, around(-step - 1));
      HVD_RETURN_IF_ERROR(transport_.exchange(around(1), in_packed(window, sent), around(-1),
                                              in_packed(window, expected), deadline));
    }
    return {};
  }

  // Position p (the root's is 0) receives from p without its highest bit,
  // then serves p + 2^k for the k above that bit.
  Status send_down_tree(const BroadcastRequest& request, const PackedArray& array) {
    packed_.resize(array.size_bytes());
    const int position = around(-request.root);
    int bit = 1;
    while (bit <= position) bit *= 2;
    if (position == 0) {
      pack_inputs(array, array.all(), packed_.data());
    } else {
      const int parent = around(-bit / 2);
      HVD_RETURN_IF_ERROR(transport_.exchange(parent, {}, parent, packed_, request.deadline));
    }
    for (; position + bit < size(); bit *= 2) {
      const int child = around(bit);
      HVD_RETURN_IF_ERROR(transport_.exchange(child, packed_, child, {}, request.deadline));
    }
    if (position != 0) unpack_outputs(array, array.all(), packed_.data());
    return {};
  }

  // While window w arrives from the rank before, window w − 1 leaves for the rank behind.
  Status send_along_chain(const BroadcastRequest& request, const PackedArray& array) {
    const int position = around(-request.root);
    const bool receives = position != 0, sends = position != size() - 1;
    const std::size_t total = array.size_bytes(), step_bytes = tuning_.link_bytes;
    for (std::size_t begin = 0; begin < total + step_bytes; begin += step_bytes) {
      const ByteRange arriving{std::min(total, begin), std::min(total, begin + step_bytes)};
      const ByteRange leaving{begin == 0 ? 0 : begin - step_bytes, arriving.begin};
      std::swap(packed_, received_);  // what arrived is what leaves
      received_.resize(arriving.size());
      if (!receives) {
        packed_.resize(leaving.size());
        pack_inputs(array, leaving, packed_.data());
      }
      const std::span<const std::byte> out =
          sends && !leaving.empty() ? std::span<const std::byte>(packed_) : std::span<const std::byte>();
      const std::span<std::byte> in = receives ? std::span<std::byte>(received_) : std::span<std::byte>();
      if (!out.empty() || !in.empty()) {
        HVD_RETURN_IF_ERROR(transport_.exchange(around(1), out, around(-1), in, request.deadline));
      }
      if (receives) unpack_outputs(array, arriving, received_.data());
    }
    return {};
  }

  ByteRange part_of_rank(ByteRange window, int rank) const {
    return part_of(window, static_cast<std::size_t>(rank), static_cast<std::size_t>(size()));
  }
  std::span<std::byte> in_packed(ByteRange window, ByteRange part) {
    return std::span(packed_).subspan(part.begin - window.begin, part.size());
  }

  // Peers and this rank no longer agree where in the stream they are: nothing can follow.
  Status fail(const Status& status, const std::string& operation) {
    abort(status.with_prefix(operation + ": "));
    return latch_.status();
  }

  Transport& transport_;
  const RingTuning tuning_;
  const ReduceKernels& kernels_;
  AbortLatch latch_;
  // Scratch, kept between calls.
  Bytes packed_;
  Bytes received_;
  std::vector<Bytes> gathered_;
};

}  // namespace

std::unique_ptr<Collectives> make_ring_collectives(Transport& transport) {
  return make_ring_collectives(transport, RingTuning{});
}

std::unique_ptr<Collectives> make_ring_collectives(Transport& transport, RingTuning tuning) {
  return std::make_unique<RingCollectives>(transport, tuning);
}

}  // namespace hvd
