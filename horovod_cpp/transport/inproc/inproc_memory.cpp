#include <algorithm>
#include <condition_variable>
#include <iterator>
#include <mutex>
#include <utility>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/transport/inproc/anonymous_memory.h"
#include "horovod_cpp/transport/inproc/inproc.h"

namespace hvd {
namespace {

// One allocate() of all ranks.
struct Round {
  explicit Round(int size) : memories(static_cast<std::size_t>(size)) {}
  Result<std::vector<MappedMemory>> outcome() const {
    if (!failure.is_ok()) return failure;
    return memories;
  }
  std::vector<MappedMemory> memories;
  Status failure;  // a rank had not the memory
  int joined = 0;
};

// What the ranks share. Every member is guarded by the mutex.
class Meeting {
 public:
  explicit Meeting(int size) : size_(size), open_round_(std::make_shared<Round>(size)) {}
  int size() const { return size_; }

  Result<std::vector<MappedMemory>> join(int rank, Result<MappedMemory> mine, Deadline deadline) {
    std::unique_lock lock(mutex_);
    HVD_RETURN_IF_ERROR(failure_);
    // The round is replaced when it is complete,
    // so a fast rank's next round cannot touch what a slow rank still has to read.
    const std::shared_ptr<Round> round = open_round_;
    if (mine.is_ok()) {
      round->memories[static_cast<std::size_t>(rank)] = std::move(mine).value();
    } else if (round->failure.is_ok()) {
      round->failure = mine.status().with_prefix(text("rank ", rank, ": "));
    }
    if (++round->joined == size_) {
      open_round_ = std::make_shared<Round>(size_);
      changed_.notify_all();
      return round->outcome();
    }
    const auto over = [&] { return round->joined == size_ || !failure_.is_ok(); };
    if (deadline.is_never()) {
      changed_.wait(lock, over);
    } else if (!changed_.wait_until(lock, deadline.when(), over)) {
      fail(Status::timed_out(text("rank ", rank, ": shared memory: only ", round->joined, " of ", size_,
                                  " ranks joined before the deadline")));
    }
    if (round->joined == size_) return round->outcome();
    return failure_;
  }

  // The meeting of these members: the same object for all of them.
  std::shared_ptr<Meeting> among(std::span<const int> members) {
    const std::lock_guard lock(mutex_);
    auto open = std::find_if(forming_.begin(), forming_.end(), [&](const Forming& forming) {
      return std::equal(members.begin(), members.end(), forming.members.begin(), forming.members.end());
    });
    if (open == forming_.end()) {
      forming_.push_back(
          {{members.begin(), members.end()}, 0, std::make_shared<Meeting>(static_cast<int>(members.size()))});
      open = std::prev(forming_.end());
    }
    const std::shared_ptr<Meeting> meeting = open->meeting;
    if (++open->joined == meeting->size()) forming_.erase(open);
    return meeting;
  }

  void leave(int rank) {
    const std::lock_guard lock(mutex_);
    fail(Status::aborted(text("shared memory: rank ", rank, " has left")));
  }

 private:
  // A subgroup that not all members have asked for.
  struct Forming {
    std::vector<int> members;
    int joined;
    std::shared_ptr<Meeting> meeting;
  };

  void fail(const Status& why) {
    if (!failure_.is_ok()) return;
    failure_ = why;
    changed_.notify_all();
  }

  const int size_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<Round> open_round_;
  std::vector<Forming> forming_;
  Status failure_;
};

class InprocMemory final : public MemoryExchange {
 public:
  InprocMemory(int rank, std::shared_ptr<Meeting> meeting) : rank_(rank), meeting_(std::move(meeting)) {}
  ~InprocMemory() override { meeting_->leave(rank_); }
  InprocMemory(const InprocMemory&) = delete;
  InprocMemory& operator=(const InprocMemory&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return meeting_->size(); }
  Result<std::vector<MappedMemory>> allocate(std::size_t bytes, Deadline deadline) override {
    return meeting_->join(rank_, map_anonymous_memory(bytes), deadline);
  }
  Result<std::unique_ptr<MemoryExchange>> subgroup(std::span<const int> members) override {
    const auto own = std::find(members.begin(), members.end(), rank_);
    if (own == members.end()) return std::unique_ptr<MemoryExchange>{};
    return std::unique_ptr<MemoryExchange>(
        std::make_unique<InprocMemory>(static_cast<int>(own - members.begin()), meeting_->among(members)));
  }

 private:
  const int rank_;
  const std::shared_ptr<Meeting> meeting_;
};

}  // namespace

std::vector<std::unique_ptr<MemoryExchange>> make_inproc_memory(int size) {
  const auto meeting = std::make_shared<Meeting>(size);
  std::vector<std::unique_ptr<MemoryExchange>> ranks;
  for (int rank = 0; rank < size; ++rank) ranks.push_back(std::make_unique<InprocMemory>(rank, meeting));
  return ranks;
}

}  // namespace hvd
