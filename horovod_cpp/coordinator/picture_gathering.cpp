#include "horovod_cpp/coordinator/picture_gathering.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace hvd {
namespace {

// To how many of the lowest ranks a rank that fails sends its picture: some of them may have died in the same moment.
constexpr int kReaders = 3;
// A wish that comes so shortly after a lower rank has asked is answered by it.
constexpr std::chrono::milliseconds kSameWish{1000};

}  // namespace

PictureGathering::PictureGathering(Parts parts, const std::set<int>& linked)
    : parts_(std::move(parts)), living_(linked) {
  for (int rank = 0; rank < parts_.size; ++rank) {
    seen_.push_back({rank, std::nullopt, "not connected to this rank"});
  }
}

int PictureGathering::living_below() const {
  return static_cast<int>(std::distance(living_.begin(), living_.lower_bound(parts_.rank)));
}

void PictureGathering::want(const std::string& why, TimePoint now) {
  if (is_busy() || has_failed_ || (asked_ && now - *asked_ < kSameWish)) return;
  turn_ = Wish{why, now + kTurn * living_below()};
  advance(now);
}

void PictureGathering::fail(const std::string& why, TimePoint now) {
  if (std::exchange(has_failed_, true)) return;
  turn_.reset();
  gathering_.reset();
  if (is_told_below_) return;
  const Bytes mine = parts_.take_picture();
  int readers = 0;
  for (const int rank : living_) {
    if (rank > parts_.rank || ++readers > kReaders) break;
    parts_.send(rank, mine);
  }
  if (readers == 0) {
    begin(why, now + kAnswer);
  } else {
    // In case those below are gone too.
    turn_ = Wish{why, now + kTurn * std::min(readers, kReaders)};
  }
  advance(now);
}

void PictureGathering::hurry(TimePoint now) {
  if (gathering_) gathering_->due = std::min(gathering_->due, now + kLast);
  turn_.reset();
}

void PictureGathering::asked_by(int rank, TimePoint now, bool after_failure) {
  if (rank < parts_.rank) {
    asked_ = now;
    is_told_below_ = is_told_below_ || after_failure;
    turn_.reset();
  }
  parts_.send(rank, parts_.take_picture());
}

void PictureGathering::received(int rank, std::span<const std::byte> picture) {
  auto decoded = decode_picture(picture);
  if (!decoded) return;
  seen_[static_cast<std::size_t>(rank)].picture = std::move(decoded);
}

void PictureGathering::ended(int rank, const std::string& how) {
  living_.erase(rank);
  seen_[static_cast<std::size_t>(rank)].absence = how;
}

void PictureGathering::begin(const std::string& why, TimePoint until) {
  gathering_ = Wish{why, until};
  for (const int rank : living_) {
    // After a failure pictures may have come before this rank knew.
    if (!has_failed_) seen_[static_cast<std::size_t>(rank)].picture.reset();
    seen_[static_cast<std::size_t>(rank)].absence =
        "alive, but has not answered: it is stopped, or its machine is very busy";
    parts_.ask(rank, has_failed_);
  }
  seen_[static_cast<std::size_t>(parts_.rank)].picture = decode_picture(parts_.take_picture());
}

bool PictureGathering::is_complete() const {
  return std::all_of(living_.begin(), living_.end(), [this](const int rank) {
    return seen_[static_cast<std::size_t>(rank)].picture.has_value();
  });
}

void PictureGathering::finish() {
  const std::string why = gathering_->why;
  gathering_.reset();
  parts_.tell(why, words_of(seen_));
  if (has_failed_) return;
  for (RankSeen& one : seen_) one.picture.reset();
}

void PictureGathering::advance(TimePoint now) {
  if (turn_ && now >= turn_->due) {
    const std::string why = turn_->why;
    turn_.reset();
    begin(why, now + kAnswer);
  }
  if (gathering_ && (now >= gathering_->due || is_complete())) finish();
}

Deadline PictureGathering::next() const {
  Deadline next = Deadline::never();
  if (turn_) next = next.earlier(Deadline::at(turn_->due));
  if (gathering_) next = next.earlier(Deadline::at(gathering_->due));
  return next;
}

}  // namespace hvd
