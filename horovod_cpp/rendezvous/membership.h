// Membership: who belongs to a job, and who of them has come to the meeting that is open. Pure: time comes in, decisions come out.
//
// At first all ranks are members, and a meeting is complete when all have come. Where the job may go on after a loss (LossPolicy), ranks
// whose process has ended are not waited for, and once somebody meets again after a loss, members who do not come within the policy's patience
// are given up: the rest meets without them, and when they come later they are told to leave.
// Ranks are the numbers that processes were started with; they never change.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"

namespace hvd {

struct LossPolicy {
  int min_size = 0;  // with fewer ranks the job ends; 0: it ends with the first loss
  // How long those who meet again after a loss wait for a member that lives and does not come.
  std::chrono::milliseconds patience{30000};
};

// Who has come to the open meeting.
struct Attendance {
  std::vector<int> waiting;
  std::vector<int> missing;  // never came …
  std::vector<int> gone;     // … or came, and broke off
};

// "the process of rank 2 has ended …", for those who need it.
std::string words_of_end(int rank, bool well);

class Membership {
 public:
  using Clock = Deadline::Clock;

  Membership(int size, LossPolicy policy);

  int size() const { return static_cast<int>(ranks_.size()); }
  // invalid_argument: why this rank cannot come; nothing has changed then. `after_loss`: it had met the others before, and lost some.
  Status come(int rank, bool after_loss, Clock::time_point now);
  // It broke off before the meeting was complete.
  void leave(int rank);
  // Its process has ended, well or not.
  void ended(int rank, bool well);
  // Somebody of this job was refused, for this reason. Those who wait for him in vain are told it.
  void refused(const std::string& why) { refusal_ = why; }

  bool may_lose_ranks() const { return policy_.min_size > 0; }
  // Enough are left to go on.
  bool can_go_on() const;

  bool is_waiting(int rank) const;
  // All who are to come have come, or patience with the others is over. Nobody waits: false.
  bool is_complete(Clock::time_point now) const;
  // Who has come cannot go on, for this reason: too few are left, or one that must come has ended. ok: the meeting may still become
  // complete.
  Status hopeless(Clock::time_point now) const;
  // When is_complete() or hopeless() may change by time alone.
  Deadline patience_ends() const { return patience_ends_; }
  // Those who have come meet, ascending; who has not is given up. The next meeting is open.
  std::vector<int> close();

  // Ranks that were given up, ascending.
  std::vector<int> given_up() const;
  Attendance attendance() const;

 private:
  enum class Standing : std::uint8_t { member, ended_well, lost, given_up };
  struct Rank {
    Standing standing = Standing::member;
    bool is_waiting = false;
    bool broke_off = false;  // from the open meeting
  };

  Rank& at(int rank) { return ranks_[static_cast<std::size_t>(rank)]; }
  // Members that did not end. Without a policy for losses: all of them.
  bool is_awaited(const Rank& rank) const { return !may_lose_ranks() || rank.standing == Standing::member; }
  int count_waiting() const;
  std::string words_for_too_few() const;
  std::string with_refusal(const std::string& words) const;

  LossPolicy policy_;
  std::vector<Rank> ranks_;
  int first_to_end_ = -1;  // the others may have ended for want of it
  std::string refusal_;    // the last one of the open meeting
  Deadline patience_ends_ = Deadline::never();
};

}  // namespace hvd
