#include "ops/shm/shm_collectives.h"

#include <algorithm>
#include <string>
#include <vector>

#include "horovod_cpp/base/text.h"
#include "ops/host/requests.h"
#include "ops/shm/shm_memory.h"
#include "ops/shm/slots.h"

namespace hvd {
namespace {

class ShmCollectives final : public Collectives {
 public:
  ShmCollectives(std::shared_ptr<MemoryExchange> exchange, std::vector<MappedMemory> memory, ShmTuning tuning,
                 SpinLimits spin)
      : exchange_(std::move(exchange)),
        spin_(spin),
        slots_(std::move(memory), exchange_->rank(), tuning, spin) {}

  const char* name() const override { return "shm"; }
  DeviceType device_type() const override { return DeviceType::cpu; }
  bool may_change_threads() const override { return true; }
  bool supports(OpKind kind, DataType, ReduceOp op) const override {
    return kind == OpKind::share_memory || host_supports(kind, op);
  }

  Result<Completion> allreduce(const AllreduceRequest& request) override {
    HVD_RETURN_IF_ERROR(check(request));
    HVD_RETURN_IF_ERROR(board().failure());
    const PackedArray array(request.slices, size_in_bytes(request.dtype));
    if (slots_.size() == 1) {
      allreduce_alone(slots_.kernels(), request);
    } else if (array.size_bytes() > 0) {
      HVD_RETURN_IF_ERROR(outcome(shm_allreduce(slots_, request, array), request));
    }
    return Completion{};
  }

  Result<Completion> broadcast(const BroadcastRequest& request) override {
    HVD_RETURN_IF_ERROR(check(request, slots_.size()));
    HVD_RETURN_IF_ERROR(board().failure());
    const PackedArray array(request.slices, size_in_bytes(request.dtype));
    if (slots_.size() > 1) HVD_RETURN_IF_ERROR(outcome(shm_broadcast(slots_, request, array), request));
    if (request.root == slots_.rank()) copy_inputs_to_outputs(request.slices, request.dtype);
    return Completion{};
  }

  Result<Completion> allgather(const AllgatherRequest& request) override {
    HVD_RETURN_IF_ERROR(check(request, slots_.size()));
    HVD_RETURN_IF_ERROR(board().failure());
    copy_own_part(request, slots_.rank());
    if (slots_.size() > 1) HVD_RETURN_IF_ERROR(outcome(shm_allgather(slots_, request), request));
    return Completion{};
  }

  Result<Completion> alltoall(const AlltoallRequest& request) override {
    HVD_RETURN_IF_ERROR(check(request, slots_.rank(), slots_.size()));
    HVD_RETURN_IF_ERROR(board().failure());
    copy_own_part(request, slots_.rank());
    if (slots_.size() > 1) HVD_RETURN_IF_ERROR(outcome(shm_alltoall(slots_, request), request));
    return Completion{};
  }

  Result<Completion> reducescatter(const ReducescatterRequest& request) override {
    HVD_RETURN_IF_ERROR(check(request, slots_.size()));
    HVD_RETURN_IF_ERROR(board().failure());
    if (slots_.size() == 1) {
      const TensorSlice all = own_part(request, 0);
      allreduce_alone(slots_.kernels(), reduction_of(request, all));
    } else {
      HVD_RETURN_IF_ERROR(outcome(shm_reducescatter(slots_, request), request));
    }
    return Completion{};
  }

  Status barrier(Deadline deadline) override {
    HVD_RETURN_IF_ERROR(board().failure());
    const std::uint64_t step = slots_.take(1).first;
    board().publish(Progress::staged, step);
    if (const Status status = slots_.wait_until_all_arrived(step, deadline); !status.is_ok())
      return fail(status, "shm barrier");
    board().publish(Progress::done, step);
    return {};
  }

  Result<std::unique_ptr<Collectives>> subgroup(std::span<const int> members, Deadline deadline) override {
    HVD_RETURN_IF_ERROR(check_members(members, slots_.size()));
    // All have come before anybody waits in the exchange, where no abort would end it.
    HVD_RETURN_IF_ERROR(barrier(deadline));
    auto opened = open_among(members, deadline);
    HVD_RETURN_IF_ERROR(agree(opened.status(), deadline));
    return opened;
  }

  Result<std::unique_ptr<RegisteredMemory>> share_memory(std::size_t bytes, Deadline deadline) override {
    HVD_RETURN_IF_ERROR(barrier(deadline));  // as in subgroup()
    auto memory = exchange_->allocate(bytes, deadline);
    HVD_RETURN_IF_ERROR(agree(memory.status(), deadline));
    return make_shm_memory(slots_.rank(), std::move(memory).value());
  }

  void abort(const Status& why) override { board().abort(why); }

 private:
  Board& board() { return slots_.board(); }

  Result<std::unique_ptr<Collectives>> open_among(std::span<const int> members, Deadline deadline) {
    auto exchange = exchange_->subgroup(members);
    HVD_RETURN_IF_ERROR(exchange.status());
    if (exchange.value() == nullptr) return std::unique_ptr<Collectives>{};
    return open_shm_collectives(std::move(exchange).value(), deadline, slots_.tuning(), spin_);
  }

  // What did not come about for one rank does so for none.
  Status agree(const Status& mine, Deadline deadline) {
    const std::vector<std::size_t> counts(static_cast<std::size_t>(slots_.size()), 1);
    const std::uint8_t is_well = mine.is_ok() ? 1 : 0;
    std::vector<std::uint8_t> all(counts.size());
    HVD_RETURN_IF_ERROR(allgather({.input = &is_well,
                                   .output = all.data(),
                                   .counts = counts,
                                   .dtype = DataType::uint8,
                                   .deadline = deadline})
                            .status());
    HVD_RETURN_IF_ERROR(mine.with_prefix("shm: "));
    const auto ill = std::find(all.begin(), all.end(), 0);
    if (ill == all.end()) return {};
    return Status::unavailable(text("shm: rank ", ill - all.begin(), " could not; its own message says why"));
  }

  template <class Request>
  Status outcome(const Status& status, const Request& request) {
    return status.is_ok() ? status : fail(status, describe(name(), request));
  }

  // A rank that leaves an operation half done can never take part again, so the group ends.
  Status fail(const Status& status, const std::string& operation) {
    board().abort(status.with_prefix(operation + ": "));
    return board().failure();
  }

  const std::shared_ptr<MemoryExchange> exchange_;
  const SpinLimits spin_;
  Slots slots_;
};

}  // namespace

ShmTuning ShmTuning::for_ranks(int ranks_on_host) {
  ShmTuning tuning;
  const auto ranks = static_cast<std::size_t>(std::max(1, ranks_on_host));
  tuning.small_bytes = std::max(std::size_t{4} << 10, (std::size_t{64} << 10) / ranks);
  // Where ranks share cores every wait is a switch between them: fewer, longer windows.
  if (SpinLimits::for_ranks(ranks_on_host).spins == 0) tuning.window_bytes = std::size_t{1} << 20;
  return tuning;
}

Result<std::unique_ptr<Collectives>> open_shm_collectives(std::shared_ptr<MemoryExchange> memory,
                                                          Deadline deadline) {
  const int size = memory->size();
  return open_shm_collectives(std::move(memory), deadline, ShmTuning::for_ranks(size),
                              SpinLimits::for_ranks(size));
}

Result<std::unique_ptr<Collectives>> open_shm_collectives(std::shared_ptr<MemoryExchange> memory,
                                                          Deadline deadline, ShmTuning tuning,
                                                          SpinLimits spin) {
  tuning = Slots::rounded(tuning, memory->size());
  const std::size_t bytes = Board::kBytes + Slots::kCount * tuning.window_bytes;
  auto shared = memory->allocate(bytes, deadline);
  if (!shared.is_ok()) return shared.status().with_prefix("shm collectives: ");
  for (std::size_t rank = 0; rank < shared->size(); ++rank) {
    if ((*shared)[rank].size_bytes == bytes) continue;
    return Status::unavailable(text("shm collectives: rank ", memory->rank(), " shares ", bytes,
                                    " bytes, rank ", rank, " ", (*shared)[rank].size_bytes,
                                    ": they see different numbers of processors or run different versions"));
  }
  return std::unique_ptr<Collectives>(
      std::make_unique<ShmCollectives>(std::move(memory), std::move(shared).value(), tuning, spin));
}

}  // namespace hvd
