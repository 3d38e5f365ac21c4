#include "tests/gpu/standin/nccl/communicator.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <span>

namespace hvd::standin {
namespace {

std::chrono::milliseconds time_from(const char* variable, int otherwise) {
  const char* const value = std::getenv(variable);
  return std::chrono::milliseconds(value == nullptr ? otherwise : std::atoi(value));
}

std::uint64_t fingerprint(const Operation& operation) {
  std::uint64_t hash = operation.count;
  for (const int part : {static_cast<int>(operation.type), static_cast<int>(operation.kind), operation.root,
                         static_cast<int>(operation.reduction.op)}) {
    hash = hash * 1000003 + static_cast<std::uint64_t>(part);
  }
  return hash;
}

}  // namespace

void Communicator::join() {
  if (worker_.joinable()) worker_.join();
}

ncclResult_t Communicator::ready() const {
  const ncclResult_t now = state();
  return now == ncclInProgress ? ncclInvalidArgument : now;
}

// What a non-blocking communicator does apart from its caller.
ncclResult_t Communicator::run(const std::function<ncclResult_t()>& work) {
  if (is_blocking_) return work();
  join();
  // Unless an operation on the device has just found an error: that stays.
  auto idle = ncclSuccess;
  if (!state_.compare_exchange_strong(idle, ncclInProgress)) return idle;
  worker_ = std::thread([this, work] {
    std::this_thread::sleep_for(time_from("HVD_STANDIN_NCCL_CALL_MS", 2));
    const ncclResult_t result = work();
    auto expected = ncclInProgress;
    state_.compare_exchange_strong(expected, result);
  });
  return ncclInProgress;
}

ncclResult_t Communicator::connect(const ncclUniqueId& id, int rank, int size) {
  return run([=, this] { return join_segment(id, rank, size, is_aborted_); });
}

ncclResult_t Communicator::join_segment(const ncclUniqueId& id, int rank, int size,
                                        const std::atomic<bool>& stop) {
  rank_ = rank;
  size_ = size;
  const ncclResult_t attached = Segment::attach(id, rank_, size_, segment_);
  if (attached != ncclSuccess) return attached;
  const auto everybody_is_there = [&] {
    for (int other = 0; other < size_; ++other) {
      if (segment_->cell(other).is_present.load() == 0) return false;
    }
    return true;
  };
  if (segment_->wait(everybody_is_there, stop) != WaitEnd::done) return ncclRemoteError;
  return segment_->settle();
}

ncclResult_t Communicator::launch(std::vector<Operation> operations) {
  operations_pending_.fetch_add(static_cast<int>(operations.size()));
  return run([self = shared_from_this(), operations = std::move(operations)] {
    struct Task {
      std::shared_ptr<Communicator> communicator;
      Operation operation;
    };
    for (const Operation& operation : operations) {
      auto task = std::make_unique<Task>(Task{self, operation});
      const auto body = [](void* argument) {
        const std::unique_ptr<Task> mine(static_cast<Task*>(argument));
        mine->communicator->execute(mine->operation);
      };
      if (cuLaunchHostFunc(operation.stream, body, task.get()) != CUDA_SUCCESS) return ncclUnhandledCudaError;
      static_cast<void>(task.release());  // the stream's now
    }
    return ncclSuccess;
  });
}

void Communicator::execute(const Operation& operation) {
  const auto touch_memory = [&] {
    const std::lock_guard lock(touching_memory_);
    return operation.kind == Kind::transfers ? execute_transfers(operation.transfers)
                                             : execute_windows(operation);
  };
  if (!touch_memory()) {
    // A kernel that lost its peer spins until it is told to stop.
    while (!is_aborted_.load(std::memory_order_acquire))
      std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  operations_pending_.fetch_sub(1);
}

bool Communicator::arrive() {
  const WaitEnd end = segment_->barrier(is_aborted_);
  if (end == WaitEnd::peer_died) state_.store(ncclRemoteError, std::memory_order_release);
  return end == WaitEnd::done;
}

bool Communicator::execute_windows(const Operation& operation) {
  if (is_aborted_.load() || state() == ncclRemoteError) return false;
  segment_->cell(rank_).operation.store(fingerprint(operation));
  if (!arrive()) return false;
  for (int rank = 0; rank < size_; ++rank) {
    if (segment_->cell(rank).operation.load() == fingerprint(operation)) continue;
    state_.store(ncclInvalidUsage, std::memory_order_release);
    return false;
  }
  const std::size_t width = element_bytes(operation.type);
  const std::size_t per_window = kWindowBytes / width;
  std::array<const std::byte*, kMostRanks> windows{};
  for (int rank = 0; rank < size_; ++rank)
    windows.at(static_cast<std::size_t>(rank)) = segment_->window(rank);
  for (std::size_t first = 0; first < operation.count; first += per_window) {
    const std::size_t count = std::min(per_window, operation.count - first);
    const bool contributes = operation.kind != Kind::broadcast || operation.root == rank_;
    if (contributes) std::memcpy(segment_->window(rank_), operation.input + first * width, count * width);
    if (!arrive()) return false;
    std::byte* const output = operation.output + first * width;
    if (operation.kind == Kind::broadcast) {
      std::memcpy(output, segment_->window(operation.root), count * width);
    } else if (operation.kind == Kind::all_reduce || operation.root == rank_) {
      reduce(operation.reduction, operation.type, std::span(windows).first(static_cast<std::size_t>(size_)),
             output, count);
    }
    if (!arrive()) return false;
  }
  return true;
}

ncclResult_t Communicator::finalize() {
  return run([this] {
    while (operations_pending_.load() > 0 && !is_aborted_.load()) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    segment_->cell(rank_).is_finalized.store(1);
    const auto everybody_ended = [&] {
      for (int rank = 0; rank < size_; ++rank) {
        if (segment_->cell(rank).is_finalized.load() == 0) return false;
      }
      return true;
    };
    return segment_->wait(everybody_ended, is_aborted_) == WaitEnd::done ? ncclSuccess : ncclRemoteError;
  });
}

void Communicator::abort() {
  std::this_thread::sleep_for(time_from("HVD_STANDIN_NCCL_ABORT_MS", 0));
  is_aborted_.store(true, std::memory_order_release);
  join();
  // What runs gives up now, what is still to run does not begin.
  const std::lock_guard lock(touching_memory_);
}

ncclResult_t Communicator::add_scaled_sum(ncclDataType_t type, double scale, ncclRedOp_t& op) {
  scaled_sums_.emplace(next_scaled_sum_, std::pair(type, scale));
  op = static_cast<ncclRedOp_t>(next_scaled_sum_++);
  return ncclSuccess;
}

ncclResult_t Communicator::remove_scaled_sum(ncclRedOp_t op) {
  return scaled_sums_.erase(op) == 1 ? ncclSuccess : ncclInvalidArgument;
}

ncclResult_t Communicator::resolve(ncclRedOp_t op, ncclDataType_t type, Reduction& out) const {
  if (op == ncclAvg) return ncclInvalidArgument;  // not stood in for
  if (op < ncclNumOps) {
    out = {op, 1.0};
    return ncclSuccess;
  }
  const auto found = scaled_sums_.find(op);
  if (found == scaled_sums_.end() || found->second.first != type) return ncclInvalidArgument;
  out = {ncclSum, found->second.second};
  return ncclSuccess;
}

}  // namespace hvd::standin
