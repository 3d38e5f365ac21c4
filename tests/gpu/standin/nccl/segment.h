// The memory that the ranks of one stand-in communicator share, in one process
// or several: an anonymous file of the process that made the unique id, opened
// by the others through /proc. It has no name and ends with the last mapping.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "horovod_cpp/base/unique_fd.h"
#include "ops/cuda/nvidia_headers.h"

namespace hvd::standin {

inline constexpr int kMostRanks = 16;
inline constexpr std::size_t kWindowBytes = std::size_t{64} << 10;
inline constexpr std::size_t kPieceBytes = std::size_t{16} << 10;

struct alignas(64) RankCell {
  std::atomic<std::uint32_t> is_present;
  std::atomic<std::int32_t> pid;
  std::atomic<std::uint32_t> is_finalized;
  std::atomic<std::uint64_t> arrivals;  // at barriers, ever growing
  // What the rank says while a communicator is split.
  std::atomic<std::int32_t> split_color;
  std::atomic<std::int32_t> split_key;
  ncclUniqueId split_id;
  std::atomic<std::uint64_t> operation;  // hash of what the rank was asked to do, to find ranks that disagree
};

// What one rank sends to another: piece after piece, each taken out before the next is put in.
struct alignas(64) Mailbox {
  std::atomic<std::uint64_t> written;  // pieces, ever
  std::atomic<std::uint64_t> read;
  std::uint64_t total_bytes;  // of the message that the piece belongs to
  std::byte piece[kPieceBytes];
};

struct SharedState {
  std::atomic<std::uint64_t> token;
  std::array<RankCell, kMostRanks> ranks;
  alignas(4096) std::byte windows[kMostRanks][kWindowBytes];
  Mailbox mailboxes[kMostRanks][kMostRanks];  // [from][to]
};

// Why a wait ended.
enum class WaitEnd { done, stopped, peer_died };

class Segment {
 public:
  // In the process that calls ncclGetUniqueId. nullptr-free id on success.
  static ncclResult_t make_id(ncclUniqueId& id);
  // Maps the segment and publishes this rank. ncclRemoteError: the maker of the id is gone.
  static ncclResult_t attach(const ncclUniqueId& id, int rank, int size, std::unique_ptr<Segment>& out);
  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  RankCell& cell(int rank) { return state_->ranks.at(static_cast<std::size_t>(rank)); }
  std::byte* window(int rank) { return state_->windows[rank]; }
  Mailbox& mailbox(int from, int to) { return state_->mailboxes[from][to]; }
  int rank() const { return rank_; }
  int size() const { return size_; }

  // After every rank is present: lets the maker's descriptor go and watches the other processes' lives.
  ncclResult_t settle();
  // Until `is_met`, `stop` or the death of another process.
  WaitEnd wait(const std::function<bool()>& is_met, const std::atomic<bool>& stop);
  WaitEnd barrier(const std::atomic<bool>& stop);

 private:
  Segment(SharedState* state, int rank, int size) : state_(state), rank_(rank), size_(size) {}
  bool somebody_died();

  SharedState* state_;
  int rank_;
  int size_;
  std::uint64_t barriers_ = 0;
  std::vector<UniqueFd> processes_;  // a pidfd for each other process
};

}  // namespace hvd::standin
