// The stand-in's communicator: what NCCL does behind an ncclComm_t, as far as the plugin can tell.
//
// On purpose as inconvenient as NCCL can be: a non-blocking communicator takes its time over every group;
// calls made meanwhile are refused; operations run on the stream, later; after a peer's death they spin until
// ncclCommAbort; an abort of a peer in the same host is not noticed.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/gpu/standin/nccl/reduction.h"
#include "tests/gpu/standin/nccl/segment.h"

namespace hvd::standin {

// One ncclSend or ncclRecv.
struct Transfer {
  bool is_send = false;
  int peer = 0;
  std::byte* memory = nullptr;  // only read where it is sent
  std::size_t bytes = 0;
};

enum class Kind { all_reduce, broadcast, reduce, transfers };

struct Operation {
  Kind kind = Kind::all_reduce;
  int root = 0;
  Reduction reduction;
  ncclDataType_t type = ncclFloat32;
  const std::byte* input = nullptr;
  std::byte* output = nullptr;
  std::size_t count = 0;
  CUstream stream = nullptr;
  std::vector<Transfer> transfers = {};  // of one group, at most one of a direction a peer
};

class Communicator : public std::enable_shared_from_this<Communicator> {
 public:
  explicit Communicator(bool is_blocking) : is_blocking_(is_blocking) {}
  ncclResult_t connect(const ncclUniqueId& id, int rank, int size);
  // `child` becomes the communicator of all ranks with this color; NCCL_SPLIT_NOCOLOR has none.
  ncclResult_t split(int color, int key, const std::shared_ptr<Communicator>& child);
  // In the order given, each after what is on its stream.
  ncclResult_t launch(std::vector<Operation> operations);
  ncclResult_t finalize();
  // Afterwards no operation touches memory any more.
  void abort();
  // Waits for the worker: it must not be the last to hold the communicator.
  void join();

  ncclResult_t state() const { return state_.load(std::memory_order_acquire); }
  int rank() const { return rank_; }
  int size() const { return size_; }
  // ncclSuccess, or why nothing may be called now.
  ncclResult_t ready() const;

  ncclResult_t add_scaled_sum(ncclDataType_t type, double scale, ncclRedOp_t& op);
  ncclResult_t remove_scaled_sum(ncclRedOp_t op);
  // What `op` means for `type` now.
  ncclResult_t resolve(ncclRedOp_t op, ncclDataType_t type, Reduction& out) const;

 private:
  ncclResult_t run(const std::function<ncclResult_t()>& work);
  void execute(const Operation& operation);
  bool execute_windows(const Operation& operation);
  bool execute_transfers(const std::vector<Transfer>& transfers);
  ncclResult_t join_segment(const ncclUniqueId& id, int rank, int size, const std::atomic<bool>& stop);
  ncclResult_t agree_on_split(int color, int key, Communicator& child);
  bool arrive();

  int rank_ = 0;
  int size_ = 0;
  const bool is_blocking_;
  std::unique_ptr<Segment> segment_;
  std::atomic<ncclResult_t> state_{ncclSuccess};
  std::atomic<bool> is_aborted_{false};
  std::atomic<int> operations_pending_{0};
  std::mutex touching_memory_;
  std::thread worker_;  // of the last non-blocking call
  std::map<int, std::pair<ncclDataType_t, double>> scaled_sums_;
  int next_scaled_sum_ = ncclNumOps;
};

}  // namespace hvd::standin
