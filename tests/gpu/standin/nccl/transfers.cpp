// Messages between two ranks, and how a communicator is split: what only some of the ranks take part in.
#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "tests/gpu/standin/nccl/communicator.h"

namespace hvd::standin {
namespace {

// Where a transfer stands.
struct Progress {
  Transfer transfer;
  std::size_t done = 0;
  bool is_over() const { return done == transfer.bytes; }
};

enum class Step { none, moved, lengths_differ };

Step send_piece(Mailbox& box, Progress& progress) {
  const std::uint64_t written = box.written.load(std::memory_order_relaxed);
  if (box.read.load(std::memory_order_acquire) != written) return Step::none;
  const std::size_t bytes = std::min(kPieceBytes, progress.transfer.bytes - progress.done);
  std::memcpy(box.piece, progress.transfer.memory + progress.done, bytes);
  box.total_bytes = progress.transfer.bytes;
  progress.done += bytes;
  box.written.store(written + 1, std::memory_order_release);
  return Step::moved;
}

Step receive_piece(Mailbox& box, Progress& progress) {
  const std::uint64_t read = box.read.load(std::memory_order_relaxed);
  if (box.written.load(std::memory_order_acquire) == read) return Step::none;
  if (box.total_bytes != progress.transfer.bytes) return Step::lengths_differ;
  const std::size_t bytes = std::min(kPieceBytes, progress.transfer.bytes - progress.done);
  std::memcpy(progress.transfer.memory + progress.done, box.piece, bytes);
  progress.done += bytes;
  box.read.store(read + 1, std::memory_order_release);
  return Step::moved;
}

}  // namespace

bool Communicator::execute_transfers(const std::vector<Transfer>& transfers) {
  if (is_aborted_.load() || state() == ncclRemoteError) return false;
  std::vector<Progress> all;
  for (const Transfer& transfer : transfers) all.push_back({transfer});
  bool lengths_differ = false;
  const auto is_over = [](const Progress& progress) { return progress.is_over(); };
  // One step of everything; true if there was any.
  const auto advance = [&] {
    bool moved = false;
    for (Progress& progress : all) {
      if (progress.is_over()) continue;
      const Transfer& transfer = progress.transfer;
      const Step step = transfer.is_send ? send_piece(segment_->mailbox(rank_, transfer.peer), progress)
                                         : receive_piece(segment_->mailbox(transfer.peer, rank_), progress);
      moved = moved || step != Step::none;
      lengths_differ = lengths_differ || step == Step::lengths_differ;
    }
    return moved;
  };
  while (!std::all_of(all.begin(), all.end(), is_over)) {
    const WaitEnd end = segment_->wait(advance, is_aborted_);
    if (end == WaitEnd::peer_died) state_.store(ncclRemoteError, std::memory_order_release);
    if (lengths_differ) state_.store(ncclInvalidUsage, std::memory_order_release);
    if (end != WaitEnd::done || lengths_differ) return false;
  }
  return true;
}

ncclResult_t Communicator::split(int color, int key, const std::shared_ptr<Communicator>& child) {
  // NCCL may hang then; this one says so.
  if (operations_pending_.load() > 0) return ncclInvalidUsage;
  if (child != nullptr) child->state_.store(ncclInProgress);
  return run([=, this] {
    Communicator nobody(true);
    Communicator& mine = child != nullptr ? *child : nobody;
    const ncclResult_t result = agree_on_split(color, key, mine);
    mine.state_.store(result);
    return result;
  });
}

ncclResult_t Communicator::agree_on_split(int color, int key, Communicator& child) {
  RankCell& own = segment_->cell(rank_);
  own.split_color.store(color);
  own.split_key.store(key);
  if (!arrive()) return ncclRemoteError;
  // The parent's ranks in the child's order.
  std::vector<int> members;
  for (int rank = 0; rank < size_; ++rank) {
    if (segment_->cell(rank).split_color.load() == color) members.push_back(rank);
  }
  std::sort(members.begin(), members.end(), [&](int a, int b) {
    return std::pair(segment_->cell(a).split_key.load(), a) <
           std::pair(segment_->cell(b).split_key.load(), b);
  });
  const bool is_member = color != NCCL_SPLIT_NOCOLOR;
  if (is_member && members.front() == rank_) {
    if (const ncclResult_t made = Segment::make_id(own.split_id); made != ncclSuccess) return made;
  }
  if (!arrive()) return ncclRemoteError;
  ncclResult_t result = ncclSuccess;
  if (is_member) {
    const auto place = std::find(members.begin(), members.end(), rank_) - members.begin();
    result = child.join_segment(segment_->cell(members.front()).split_id, static_cast<int>(place),
                                static_cast<int>(members.size()), is_aborted_);
  }
  // Nobody begins another split before all have read this one.
  return arrive() ? result : ncclRemoteError;
}

}  // namespace hvd::standin
