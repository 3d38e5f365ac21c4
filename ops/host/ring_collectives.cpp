#include "ops/host/ring_collectives.h"

#include <algorithm>
#include <string>

#include "horovod_cpp/base/abort_latch.h"
#include "ops/host/group_transport.h"
#include "ops/host/requests.h"
#include "ops/host/ring.h"

namespace hvd {
namespace {

class RingCollectives final : public Collectives {
 public:
  RingCollectives(Transport& transport, RingTuning tuning) : ring_{transport, tuning} {}
  RingCollectives(std::unique_ptr<Transport> transport, RingTuning tuning)
      : owned_(std::move(transport)), ring_{*owned_, tuning} {}

  const char* name() const override { return "ring"; }
  DeviceType device_type() const override { return DeviceType::cpu; }
  bool may_change_threads() const override { return ring_.transport.may_change_threads(); }
  bool supports(OpKind kind, DataType, ReduceOp op) const override { return host_supports(kind, op); }

  Result<Completion> allreduce(const AllreduceRequest& request) override {
    HVD_RETURN_IF_ERROR(check(request));
    HVD_RETURN_IF_ERROR(latch_.status());
    const PackedArray array(request.slices, size_in_bytes(request.dtype));
    if (ring_.size() == 1) {
      allreduce_alone(ring_.kernels, request);
    } else if (array.size_bytes() > 0) {
      HVD_RETURN_IF_ERROR(outcome(ring_allreduce(ring_, request, array), request));
    }
    return Completion{};
  }

  Result<Completion> broadcast(const BroadcastRequest& request) override {
    HVD_RETURN_IF_ERROR(check(request, ring_.size()));
    HVD_RETURN_IF_ERROR(latch_.status());
    const PackedArray array(request.slices, size_in_bytes(request.dtype));
    if (ring_.size() > 1 && array.size_bytes() > 0)
      HVD_RETURN_IF_ERROR(outcome(ring_broadcast(ring_, request, array), request));
    if (request.root == ring_.rank()) copy_inputs_to_outputs(request.slices, request.dtype);
    return Completion{};
  }

  Result<Completion> allgather(const AllgatherRequest& request) override {
    HVD_RETURN_IF_ERROR(check(request, ring_.size()));
    HVD_RETURN_IF_ERROR(latch_.status());
    copy_own_part(request, ring_.rank());
    if (ring_.size() > 1) HVD_RETURN_IF_ERROR(outcome(ring_allgather(ring_, request), request));
    return Completion{};
  }

  Result<Completion> alltoall(const AlltoallRequest& request) override {
    HVD_RETURN_IF_ERROR(check(request, ring_.rank(), ring_.size()));
    HVD_RETURN_IF_ERROR(latch_.status());
    copy_own_part(request, ring_.rank());
    HVD_RETURN_IF_ERROR(outcome(ring_alltoall(ring_, request), request));
    return Completion{};
  }

  Result<Completion> reducescatter(const ReducescatterRequest& request) override {
    HVD_RETURN_IF_ERROR(check(request, ring_.size()));
    HVD_RETURN_IF_ERROR(latch_.status());
    HVD_RETURN_IF_ERROR(outcome(ring_reducescatter(ring_, request), request));
    return Completion{};
  }

  Status barrier(Deadline deadline) override {
    HVD_RETURN_IF_ERROR(latch_.status());
    if (ring_.size() == 1) return {};
    const Status status = ring_.transport.all_gather({}, ring_.gathered, deadline);
    return status.is_ok() ? status : fail(status, "ring barrier");
  }

  // Nothing need be said to the others: all of them make the same view.
  Result<std::unique_ptr<Collectives>> subgroup(std::span<const int> members, Deadline) override {
    HVD_RETURN_IF_ERROR(check_members(members, ring_.size()));
    HVD_RETURN_IF_ERROR(latch_.status());
    if (std::find(members.begin(), members.end(), ring_.rank()) == members.end())
      return std::unique_ptr<Collectives>{};
    return std::unique_ptr<Collectives>(
        std::make_unique<RingCollectives>(make_group_transport(ring_.transport, members), ring_.tuning));
  }

  void abort(const Status& why) override {
    latch_.set(why);
    ring_.transport.abort(why);
  }

 private:
  template <class Request>
  Status outcome(const Status& status, const Request& request) {
    return status.is_ok() ? status : fail(status, describe(name(), request));
  }

  // Peers and this rank no longer agree where in the stream they are: nothing can follow.
  Status fail(const Status& status, const std::string& operation) {
    abort(status.with_prefix(operation + ": "));
    return latch_.status();
  }

  const std::unique_ptr<Transport> owned_;
  Ring ring_;
  AbortLatch latch_;
};

}  // namespace

std::unique_ptr<Collectives> make_ring_collectives(Transport& transport) {
  return make_ring_collectives(transport, RingTuning{});
}

std::unique_ptr<Collectives> make_ring_collectives(Transport& transport, RingTuning tuning) {
  return std::make_unique<RingCollectives>(transport, tuning);
}

std::unique_ptr<Collectives> make_ring_collectives(std::unique_ptr<Transport> transport) {
  return std::make_unique<RingCollectives>(std::move(transport), RingTuning{});
}

}  // namespace hvd
