// What the collectives through shared memory have in common: every rank shows windows of its data in slots that the others read.
// Private to ops/shm. README.md explains the algorithms.
//
// Steps count the windows of all operations, the same on every rank; step s uses slot s mod kSlots. `staged` s: the rank's
// slot holds what it shows in step s. `done` s: the rank has read all that it wants of step s, on all ranks.
// Errors: a rank that fails in the middle of an operation can never take part again.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "horovod_cpp/ports/collectives.h"
#include "horovod_cpp/ports/packing.h"
#include "ops/host/reduce.h"
#include "ops/shm/board.h"
#include "ops/shm/shm_collectives.h"

namespace hvd {

// Steps of one operation.
struct Steps {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};

class Slots {
 public:
  // Windows that may be under way at once. A rank stages window w while it reduces w − 1 and collects w − 2;
  // the fourth lets it run ahead of its peers by one.
  static constexpr std::uint64_t kCount = 4;
  static constexpr std::size_t kLineBytes = 64;

  // The tuning as it will be used: whole pages, and a line for every rank and one more.
  static ShmTuning rounded(ShmTuning tuning, int size);

  // memory[r] is rank r's: Board::kBytes and kCount windows.
  Slots(std::vector<MappedMemory> memory, int rank, const ShmTuning& tuning, SpinLimits spin)
      : board_(std::move(memory), rank, spin),
        tuning_(tuning),
        known_done_(static_cast<std::size_t>(size())) {}

  Board& board() { return board_; }
  const ShmTuning& tuning() const { return tuning_; }
  const ReduceKernels& kernels() const { return kernels_; }
  int rank() const { return board_.rank(); }
  int size() const { return board_.size(); }

  // The next steps. All ranks take the same number.
  Steps take(std::uint64_t count) {
    const Steps steps{last_step_ + 1, count};
    last_step_ += count;
    return steps;
  }

  std::byte* at(int rank, std::uint64_t step) const {
    return board_.memory_of(rank) + (step % kCount) * tuning_.window_bytes;
  }

  // A window's length for `total` bytes: short batches get short windows, so that copying and reducing overlap there too.
  std::size_t window_bytes_for(std::size_t total) const;

  // A window divided evenly among the ranks: whole lines, at least one.
  std::size_t division_bytes(std::size_t window_bytes) const {
    return window_bytes / static_cast<std::size_t>(size()) / kLineBytes * kLineBytes;
  }

  // act(peer) for all other ranks, until one fails. Each rank begins behind itself.
  template <class Act>
  Status for_each_peer(Act&& act) {
    for (int distance = 1; distance < size(); ++distance)
      HVD_RETURN_IF_ERROR(act((rank() + distance) % size()));
    return {};
  }

  // Until every rank has finished the step that used this step's slot before: then nobody reads it any more.
  Status wait_until_free(std::uint64_t step, Deadline deadline);
  // Only for the first step of an operation: who has arrived there has finished all operations before.
  Status wait_until_all_arrived(std::uint64_t step, Deadline deadline);

  // stage(slot) writes what this rank shows in `step`.
  template <class Stage>
  Status stage(std::uint64_t step, Deadline deadline, Stage&& stage) {
    HVD_RETURN_IF_ERROR(wait_until_free(step, deadline));
    stage(at(rank(), step));
    board_.publish(Progress::staged, step);
    return {};
  }

  // For every window of the steps stage_window(i, slot), and collect(i, step) one behind it. The latter waits for those that it reads.
  template <class Stage, class Collect>
  Status stage_and_collect(Steps steps, Deadline deadline, Stage&& stage_window, Collect&& collect) {
    for (std::uint64_t i = 0; i <= steps.count; ++i) {
      if (i < steps.count) {
        HVD_RETURN_IF_ERROR(
            stage(steps.first + i, deadline, [&](std::byte* slot) { stage_window(i, slot); }));
      }
      if (i == 0) continue;
      HVD_RETURN_IF_ERROR(collect(i - 1, steps.first + i - 1));
      board_.publish(Progress::done, steps.first + i - 1);
    }
    return {};
  }

  // What reduce_range wants: where every rank's slot holds what is at `offset`, and nullptr for this rank's, whose tensors are read
  // themselves. Valid until the next call.
  std::span<const std::byte* const> packed_at(std::uint64_t step, std::size_t offset);

 private:
  Board board_;
  const ShmTuning tuning_;
  const ReduceKernels& kernels_ = fastest_reduce_kernels();
  std::uint64_t last_step_ = 0;
  std::vector<std::uint64_t> known_done_;  // by rank: a lower bound of its counter `done`
  std::vector<const std::byte*> packed_;
};

// Window `index` of a range that is cut into windows of this length; empty behind the end.
inline ByteRange window_of(ByteRange whole, std::uint64_t index, std::size_t window_bytes) {
  const std::size_t begin = std::min(whole.size(), index * window_bytes);
  return {whole.begin + begin, whole.begin + std::min(whole.size(), begin + window_bytes)};
}

// All of them: at least two ranks. `array` holds the slices of the request.
Status shm_allreduce(Slots& slots, const AllreduceRequest& request, const PackedArray& array);
Status shm_broadcast(Slots& slots, const BroadcastRequest& request, const PackedArray& array);
// This rank's own part of the output is there already.
Status shm_allgather(Slots& slots, const AllgatherRequest& request);
Status shm_alltoall(Slots& slots, const AlltoallRequest& request);
Status shm_reducescatter(Slots& slots, const ReducescatterRequest& request);

}  // namespace hvd
