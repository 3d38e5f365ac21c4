#include "horovod_cpp/coordinator/peer_monitor.h"

#include <algorithm>
#include <utility>

#include "horovod_cpp/coordinator/position.h"

namespace hvd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Often enough for the shorter limit, seldom enough to cost nothing.
milliseconds interval_for(seconds warn_after, seconds end_after) {
  milliseconds shortest = seconds(40);
  for (const seconds limit : {warn_after, end_after}) {
    if (limit.count() > 0) shortest = std::min<milliseconds>(shortest, limit);
  }
  return shortest / 8;
}

template <class Duration>
bool has_reached(Duration time, seconds limit) {
  return limit.count() > 0 && time >= limit;
}

seconds whole(std::chrono::nanoseconds time) { return std::chrono::duration_cast<seconds>(time); }

}  // namespace

PeerMonitor::PeerMonitor(int rank, const std::set<int>& peers, seconds warn_after, seconds end_after)
    : rank_(rank),
      warn_after_(warn_after),
      end_after_(end_after),
      interval_(interval_for(warn_after, end_after)) {
  for (const int peer : peers) peers_.emplace(peer, Peer{});
}

bool PeerMonitor::is_on() const {
  return !peers_.empty() && (warn_after_.count() > 0 || end_after_.count() > 0);
}

void PeerMonitor::heard(int rank) {
  const auto peer = peers_.find(rank);
  if (peer == peers_.end()) return;
  peer->second.silence = {};
  peer->second.is_reported = false;
}

void PeerMonitor::asked_by(int rank) {
  if (const auto peer = peers_.find(rank); peer != peers_.end()) peer->second.since_it_asked = {};
}

void PeerMonitor::answered(int rank, std::uint64_t position) {
  const auto peer = peers_.find(rank);
  if (peer == peers_.end()) return;
  peer->second.is_asked = false;
  peer->second.position = position;
}

void PeerMonitor::ended(int rank) { peers_.erase(rank); }

Deadline PeerMonitor::next() const {
  if (!is_on()) return Deadline::never();
  return last_look_ ? Deadline::at(*last_look_ + interval_) : Deadline::after({});
}

PeerMonitor::Findings PeerMonitor::look(TimePoint now, const std::optional<Own>& own) {
  std::chrono::nanoseconds awake{};
  if (last_look_) awake = std::min<std::chrono::nanoseconds>(now - *last_look_, 2 * interval_);
  last_look_ = now;
  if (!own) return {};

  if (own->position != position_) {
    position_ = own->position;
    at_position_ = {};
    position_is_reported_ = false;
  } else {
    at_position_ += awake;
  }
  const bool is_stuck = Position::is_in_round(position_) && at_position_ >= interval_;
  const bool is_waiting = is_stuck || (own->waits_since && now - *own->waits_since >= interval_);

  Findings findings;
  for (auto& [rank, peer] : peers_) {
    peer.since_it_asked += awake;
    if (!is_waiting) {
      peer.silence = {};
      continue;
    }
    if (peer.is_asked) peer.silence += awake;
    // Its socket keeps the question until it can answer.
    if (!std::exchange(peer.is_asked, true)) findings.to_ask.push_back(rank);
  }
  if (!is_waiting) return findings;
  findings.silent = find_silent();
  findings.held_up = find_held_up(position_);
  return findings;
}

bool PeerMonitor::is_told_below() const {
  return std::any_of(peers_.begin(), peers_.lower_bound(rank_), [this](const auto& entry) {
    return is_audible(entry.second) && entry.second.since_it_asked < 3 * interval_;
  });
}

std::vector<PeerMonitor::Silent> PeerMonitor::find_silent() {
  std::vector<Silent> found;
  for (auto& [rank, peer] : peers_) {
    const bool is_new = has_reached(peer.silence, warn_after_) && !std::exchange(peer.is_reported, true);
    const bool ends = has_reached(peer.silence, end_after_);
    if (is_new || ends) found.push_back({rank, whole(peer.silence), is_new && !is_told_below(), ends});
  }
  return found;
}

std::optional<PeerMonitor::HeldUp> PeerMonitor::find_held_up(std::uint64_t position) {
  const bool warns = has_reached(at_position_, warn_after_) && !position_is_reported_;
  const bool ends = has_reached(at_position_, end_after_);
  if (!Position::is_in_round(position) || (!warns && !ends)) return std::nullopt;
  HeldUp found{{}, whole(at_position_), false, false};
  bool is_told = false;
  for (const auto& [rank, peer] : peers_) {
    // Silence says enough; and the others tell of who holds them up.
    if (!is_audible(peer) || (peer.position && *peer.position > position)) return std::nullopt;
    if (peer.position && *peer.position < position) found.by.push_back(rank);
    if (peer.position == position && rank < rank_) is_told = true;
  }
  position_is_reported_ = position_is_reported_ || warns;
  found.is_to_be_told = warns && !is_told;
  // A long operation that all of them are in is no reason.
  found.ends_the_job = ends && !found.by.empty();
  if (!found.is_to_be_told && !found.ends_the_job) return std::nullopt;
  return found;
}

}  // namespace hvd
