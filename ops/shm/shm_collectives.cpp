#include "ops/shm/shm_collectives.h"

#include <algorithm>
#include <string>
#include <vector>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/ports/packing.h"
#include "ops/host/reduce.h"
#include "ops/host/requests.h"
#include "ops/shm/board.h"

namespace hvd {
namespace {

// Windows that may be under way at once. A rank stages window w while it reduces w − 1 and collects w − 2;
// the fourth lets it run ahead of its peers by one.
constexpr std::uint64_t kSlots = 4;
constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kSmallestWindowBytes = std::size_t{32} << 10;

std::size_t whole_pages(std::size_t bytes) { return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes; }

class ShmCollectives final : public Collectives {
 public:
  ShmCollectives(std::vector<MappedMemory> memory, int rank, ShmTuning tuning, SpinLimits spin)
      : board_(std::move(memory), rank, spin),
        tuning_(tuning),
        kernels_(fastest_reduce_kernels()),
        known_done_(static_cast<std::size_t>(board_.size())) {}

  const char* name() const override { return "shm"; }
  DeviceType device_type() const override { return DeviceType::cpu; }
  bool supports(OpKind kind, DataType, ReduceOp op) const override { return host_supports(kind, op); }

  Result<Completion> allreduce(const AllreduceRequest& request) override {
    HVD_RETURN_IF_ERROR(check(request));
    HVD_RETURN_IF_ERROR(board_.failure());
    if (board_.size() == 1) {
      allreduce_alone(kernels_, request);
      return Completion{};
    }
    const PackedArray array(request.slices, size_in_bytes(request.dtype));
    if (array.size_bytes() == 0) return Completion{};
    const Status status = array.size_bytes() <= tuning_.small_bytes ? reduce_small(request, array)
                                                                    : reduce_windows(request, array);
    if (!status.is_ok()) return fail(status, describe(name(), request));
    return Completion{};
  }

  Result<Completion> broadcast(const BroadcastRequest& request) override {
    HVD_RETURN_IF_ERROR(check(request, board_.size()));
    HVD_RETURN_IF_ERROR(board_.failure());
    const PackedArray array(request.slices, size_in_bytes(request.dtype));
    const Status status =
        request.root == board_.rank() ? send_windows(request, array) : receive_windows(request, array);
    if (!status.is_ok()) return fail(status, describe(name(), request));
    if (request.root == board_.rank()) copy_inputs_to_outputs(request.slices, request.dtype);
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
    HVD_RETURN_IF_ERROR(board_.failure());
    const std::uint64_t step = ++last_step_;
    board_.publish(Progress::staged, step);
    if (const Status status = wait_until_all_arrived(step, deadline); !status.is_ok())
      return fail(status, "shm barrier");
    board_.publish(Progress::done, step);
    return {};
  }

  void abort(const Status& why) override { board_.abort(why); }

 private:
  // Windows of one operation. Steps count the windows of all operations,
  // the same on every rank; step s uses slot s mod kSlots.
  struct Windows {
    std::uint64_t first_step = 0;
    std::uint64_t count = 0;
    std::size_t window_bytes = 0;
    ByteRange all;

    ByteRange at(std::uint64_t index) const {
      return {index * window_bytes, std::min(all.end, (index + 1) * window_bytes)};
    }
  };

  // Short batches get short windows, so that copying and reducing overlap there too.
  Windows cut(const PackedArray& array) {
    const std::size_t total = array.size_bytes();
    const std::size_t window_bytes =
        std::clamp(whole_pages(total / kSlots), std::min(kSmallestWindowBytes, tuning_.window_bytes),
                   tuning_.window_bytes);
    const Windows windows{last_step_ + 1, (total + window_bytes - 1) / window_bytes, window_bytes,
                          array.all()};
    last_step_ += windows.count;
    return windows;
  }

  std::byte* slot_of(int rank, std::uint64_t step) const {
    return board_.memory_of(rank) + (step % kSlots) * tuning_.window_bytes;
  }

  template <class Act>
  Status for_each_peer(Act&& act) {
    for (int distance = 1; distance < board_.size(); ++distance) {
      HVD_RETURN_IF_ERROR(act((board_.rank() + distance) % board_.size()));
    }
    return {};
  }

  // Until every rank has finished the step that used this step's slot before: then nobody reads it any more.
  Status wait_until_slot_is_free(std::uint64_t step, Deadline deadline) {
    if (step <= kSlots) return {};
    const std::uint64_t needed = step - kSlots;
    return for_each_peer([&](int peer) -> Status {
      std::uint64_t& known = known_done_[static_cast<std::size_t>(peer)];
      if (known >= needed) return {};
      HVD_RETURN_IF_ERROR(board_.wait(Progress::done, peer, needed, deadline));
      known = needed;
      return {};
    });
  }

  // Only for the first step of an operation: who has arrived there has finished all operations before.
  Status wait_until_all_arrived(std::uint64_t step, Deadline deadline) {
    return for_each_peer([&](int peer) -> Status {
      HVD_RETURN_IF_ERROR(board_.wait(Progress::staged, peer, step, deadline));
      known_done_[static_cast<std::size_t>(peer)] = step - 1;
      return {};
    });
  }

  // Every rank shows its whole batch and reduces everybody's: one synchronisation.
  Status reduce_small(const AllreduceRequest& request, const PackedArray& array) {
    const std::uint64_t step = ++last_step_;
    HVD_RETURN_IF_ERROR(wait_until_slot_is_free(step, request.deadline));
    pack_inputs(array, array.all(), slot_of(board_.rank(), step));
    board_.publish(Progress::staged, step);
    HVD_RETURN_IF_ERROR(wait_until_all_arrived(step, request.deadline));
    reduce_range(kernels_, request, array, array.all(), packed_at(step, 0), nullptr);
    board_.publish(Progress::done, step);
    return {};
  }

  // Every rank shows what the others own of a window,
  // reduces what it owns itself, and takes the rest from the others.
  Status reduce_windows(const AllreduceRequest& request, const PackedArray& array) {
    const Windows windows = cut(array);
    for (std::uint64_t i = 0; i < windows.count + 2; ++i) {
      if (i < windows.count) HVD_RETURN_IF_ERROR(stage(request, array, windows, i));
      if (i >= 1 && i <= windows.count) HVD_RETURN_IF_ERROR(reduce_own_part(request, array, windows, i - 1));
      if (i >= 2) HVD_RETURN_IF_ERROR(collect(request, array, windows, i - 2));
    }
    return {};
  }

  Status stage(const AllreduceRequest& request, const PackedArray& array, const Windows& windows,
               std::uint64_t index) {
    const std::uint64_t step = windows.first_step + index;
    HVD_RETURN_IF_ERROR(wait_until_slot_is_free(step, request.deadline));
    const ByteRange window = windows.at(index);
    const ByteRange own = part_of_rank(window, board_.rank());
    std::byte* const slot = slot_of(board_.rank(), step);
    pack_inputs(array, {window.begin, own.begin}, slot);
    pack_inputs(array, {own.end, window.end}, slot + (own.end - window.begin));
    board_.publish(Progress::staged, step);
    return {};
  }

  Status reduce_own_part(const AllreduceRequest& request, const PackedArray& array, const Windows& windows,
                         std::uint64_t index) {
    const std::uint64_t step = windows.first_step + index;
    HVD_RETURN_IF_ERROR(
        for_each_peer([&](int peer) { return board_.wait(Progress::staged, peer, step, request.deadline); }));
    const ByteRange window = windows.at(index);
    const ByteRange own = part_of_rank(window, board_.rank());
    const std::size_t offset = own.begin - window.begin;
    reduce_range(kernels_, request, array, own, packed_at(step, offset),
                 slot_of(board_.rank(), step) + offset);
    board_.publish(Progress::reduced, step);
    return {};
  }

  Status collect(const AllreduceRequest& request, const PackedArray& array, const Windows& windows,
                 std::uint64_t index) {
    const std::uint64_t step = windows.first_step + index;
    const ByteRange window = windows.at(index);
    HVD_RETURN_IF_ERROR(for_each_peer([&](int peer) -> Status {
      const ByteRange part = part_of_rank(window, peer);
      HVD_RETURN_IF_ERROR(board_.wait(Progress::reduced, peer, step, request.deadline));
      unpack_outputs(array, part, slot_of(peer, step) + (part.begin - window.begin));
      return {};
    }));
    board_.publish(Progress::done, step);
    return {};
  }

  Status send_windows(const BroadcastRequest& request, const PackedArray& array) {
    const Windows windows = cut(array);
    for (std::uint64_t i = 0; i < windows.count && board_.size() > 1; ++i) {
      const std::uint64_t step = windows.first_step + i;
      HVD_RETURN_IF_ERROR(wait_until_slot_is_free(step, request.deadline));
      pack_inputs(array, windows.at(i), slot_of(board_.rank(), step));
      board_.publish(Progress::staged, step);
      board_.publish(Progress::done, step);
    }
    return {};
  }

  Status receive_windows(const BroadcastRequest& request, const PackedArray& array) {
    const Windows windows = cut(array);
    for (std::uint64_t i = 0; i < windows.count; ++i) {
      const std::uint64_t step = windows.first_step + i;
      HVD_RETURN_IF_ERROR(board_.wait(Progress::staged, request.root, step, request.deadline));
      unpack_outputs(array, windows.at(i), slot_of(request.root, step));
      board_.publish(Progress::done, step);
    }
    return {};
  }

  ByteRange part_of_rank(ByteRange window, int rank) const {
    return part_of(window, static_cast<std::size_t>(rank), static_cast<std::size_t>(board_.size()));
  }

  // What reduce_range wants: every rank's slot,
  // and nullptr for this rank's, whose tensors are read themselves.
  std::span<const std::byte* const> packed_at(std::uint64_t step, std::size_t offset) {
    packed_.resize(static_cast<std::size_t>(board_.size()));
    for (int rank = 0; rank < board_.size(); ++rank) {
      packed_[static_cast<std::size_t>(rank)] =
          rank == board_.rank() ? nullptr : slot_of(rank, step) + offset;
    }
    return packed_;
  }

  // A rank that leaves an operation half done can never take part again, so the group ends.
  Status fail(const Status& status, const std::string& operation) {
    board_.abort(status.with_prefix(operation + ": "));
    return board_.failure();
  }

  Board board_;
  const ShmTuning tuning_;
  const ReduceKernels& kernels_;
  std::uint64_t last_step_ = 0;
  std::vector<std::uint64_t> known_done_;  // by rank: a lower bound of its counter `done`
  std::vector<const std::byte*> packed_;
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

Result<std::unique_ptr<Collectives>> open_shm_collectives(MemoryExchange& memory, Deadline deadline) {
  return open_shm_collectives(memory, deadline, ShmTuning::for_ranks(memory.size()),
                              SpinLimits::for_ranks(memory.size()));
}

Result<std::unique_ptr<Collectives>> open_shm_collectives(MemoryExchange& memory, Deadline deadline,
                                                          ShmTuning tuning, SpinLimits spin) {
  tuning.window_bytes = whole_pages(tuning.window_bytes);
  tuning.small_bytes = std::min(tuning.small_bytes, tuning.window_bytes);
  const std::size_t bytes = Board::kBytes + kSlots * tuning.window_bytes;
  auto shared = memory.allocate(bytes, deadline);
  if (!shared.is_ok()) return shared.status().with_prefix("shm collectives: ");
  for (std::size_t rank = 0; rank < shared->size(); ++rank) {
    if ((*shared)[rank].size_bytes == bytes) continue;
    return Status::unavailable(text("shm collectives: rank ", memory.rank(), " shares ", bytes,
                                    " bytes, rank ", rank, " ", (*shared)[rank].size_bytes,
                                    ": they see different numbers of processors or run different versions"));
  }
  return std::unique_ptr<Collectives>(
      std::make_unique<ShmCollectives>(std::move(shared).value(), memory.rank(), tuning, spin));
}

}  // namespace hvd
