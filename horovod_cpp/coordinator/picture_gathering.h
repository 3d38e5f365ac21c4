// PictureGathering: how ranks come to one picture of what all of them are doing. Pure but for what it remembers: no clock, no sockets.
//
// Whoever wants a picture waits its turn, by its place among the living: the lowest asks at once, the next after half a second, unless a
// lower one has asked by then (it is stopped, or does not know). Who asks has everybody's pictures a second later and puts them into words.
// After a failure every rank sends its picture to the lowest living ones unasked, since it may be gone a moment later.
// Threading: one thread, the watcher's.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/coordinator/rank_picture.h"
#include "horovod_cpp/ports/clock.h"

namespace hvd {

class PictureGathering {
 public:
  using TimePoint = Clock::time_point;
  static constexpr std::chrono::milliseconds kTurn{500};
  static constexpr std::chrono::milliseconds kAnswer{1000};
  static constexpr std::chrono::milliseconds kLast{200};  // when the Session ends

  // Nothing here blocks.
  struct Parts {
    int rank = 0;
    int size = 1;
    std::function<Bytes()> take_picture;  // encoded
    std::function<void(int rank, bool after_failure)> ask;
    std::function<void(int rank, const Bytes& picture)> send;
    std::function<void(const std::string& why, const std::string& words)> tell;
  };
  // `linked`: the ranks that can be asked.
  PictureGathering(Parts parts, const std::set<int>& linked);

  // `why`: for people, "SIGUSR1".
  void want(const std::string& why, TimePoint now);
  // The world has failed: once.
  void fail(const std::string& why, TimePoint now);
  // The Session is about to end: what is not complete shortly is told as it is.
  void hurry(TimePoint now);

  void asked_by(int rank, TimePoint now, bool after_failure = false);
  void received(int rank, std::span<const std::byte> picture);
  // From now on it does not answer.
  void ended(int rank, const std::string& how);

  // Does what is due.
  void advance(TimePoint now);
  // When it will be.
  Deadline next() const;
  bool is_busy() const { return turn_.has_value() || gathering_.has_value(); }

 private:
  struct Wish {
    std::string why;
    TimePoint due;
  };
  void begin(const std::string& why, TimePoint until);
  void finish();
  bool is_complete() const;
  int living_below() const;

  Parts parts_;
  std::set<int> living_;  // of the linked ones
  std::vector<RankSeen> seen_;
  std::optional<Wish> turn_;
  std::optional<Wish> gathering_;
  std::optional<TimePoint> asked_;  // by a lower rank
  bool has_failed_ = false;
  bool is_told_below_ = false;  // a lower rank gathers the pictures of the failure, and has this one
};

}  // namespace hvd
