// PeerMonitor: what a rank that waits makes of the other ranks' answers, and of their silence. Pure but for its memory.
//
// A rank that has waited for an interval asks all others whether they are there, again and again; who does not wait asks nobody. A process
// that was stopped, or gets no processor, does not answer: it is silent. One that answers, but whose coordinator has not come to where this
// rank's waits, holds it up. Of the ranks that wait for the same the lowest tells.
// Only time counts for which this rank was awake itself: after it was stopped it blames nobody.
// Threading: one thread, the watcher's.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/ports/clock.h"

namespace hvd {

class PeerMonitor {
 public:
  using TimePoint = Clock::time_point;
  // A zero `warn_after` never warns; a zero `end_after` never ends.
  PeerMonitor(int rank, const std::set<int>& peers, std::chrono::seconds warn_after,
              std::chrono::seconds end_after);

  bool is_on() const;
  // From one look to the next.
  std::chrono::milliseconds interval() const { return interval_; }

  // What came from a peer.
  void heard(int rank);
  void asked_by(int rank);
  void answered(int rank, std::uint64_t position);
  // It is not there any more.
  void ended(int rank);

  struct Own {
    std::uint64_t position = 0;            // of the coordinator (Position)
    std::optional<TimePoint> waits_since;  // for whatever other ranks have to do
  };
  struct Silent {
    int rank = 0;
    std::chrono::seconds time{};
    bool is_to_be_told = false;  // by this rank, now
    bool ends_the_job = false;
  };
  struct HeldUp {
    std::vector<int> by;  // empty: all are in the same operation
    std::chrono::seconds time{};
    bool is_to_be_told = false;
    bool ends_the_job = false;
  };
  struct Findings {
    std::vector<int> to_ask;
    std::vector<Silent> silent;
    std::optional<HeldUp> held_up;
  };
  // Every interval(); nothing for `own`: this rank no longer cares.
  Findings look(TimePoint now, const std::optional<Own>& own);
  // When to look next; never if it is off.
  Deadline next() const;

 private:
  struct Peer {
    bool is_asked = false;  // and has not answered
    std::chrono::nanoseconds silence{};
    bool is_reported = false;
    std::optional<std::uint64_t> position;
    std::chrono::nanoseconds since_it_asked = std::chrono::hours(1);
  };
  bool is_audible(const Peer& peer) const { return peer.silence < 3 * interval_; }
  // Whether a lower rank waits too, and will tell.
  bool is_told_below() const;
  std::vector<Silent> find_silent();
  std::optional<HeldUp> find_held_up(std::uint64_t position);

  const int rank_;
  const std::chrono::seconds warn_after_;
  const std::chrono::seconds end_after_;
  const std::chrono::milliseconds interval_;
  std::map<int, Peer> peers_;  // that live
  std::optional<TimePoint> last_look_;
  std::uint64_t position_ = 0;
  std::chrono::nanoseconds at_position_{};
  bool position_is_reported_ = false;
};

}  // namespace hvd
