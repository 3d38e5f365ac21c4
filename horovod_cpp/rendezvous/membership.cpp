#include "horovod_cpp/rendezvous/membership.h"

#include <algorithm>

#include "horovod_cpp/base/text.h"

namespace hvd {

std::string words_of_end(int rank, bool well) {
  return text("the process of rank ", rank,
              well ? " has exited while the others wait for it: every rank must call hvd::init(), as often "
                     "as the others"
                   : " has ended: it was killed, crashed or failed; the launcher's last lines say why");
}

Membership::Membership(int size, LossPolicy policy)
    : policy_(policy), ranks_(static_cast<std::size_t>(size)) {}

Status Membership::come(int rank, bool after_loss, Clock::time_point now) {
  const auto refuse = [](const std::string& why) { return Status::invalid_argument(why); };
  if (at(rank).is_waiting) {
    return refuse(text("rank ", rank, " is taken: another process has come with this rank"));
  }
  if (may_lose_ranks() && at(rank).standing == Standing::given_up) {
    return refuse(text("rank ", rank,
                       " was given up: when the ranks met again after a loss it did not come in time. The "
                       "others go on without it; this process must end"));
  }
  if (may_lose_ranks() && at(rank).standing != Standing::member) {
    return refuse(text("rank ", rank, " is out of the job: its process has ended"));
  }
  if (after_loss && !may_lose_ranks()) {
    return refuse(
        "this job ends with the first rank it loses; hvdrun --min-np N lets it go on while N ranks are left");
  }
  if (after_loss && !can_go_on()) return refuse(words_for_too_few());
  at(rank).is_waiting = true;
  at(rank).broke_off = false;
  if (after_loss && patience_ends_.is_never()) patience_ends_ = Deadline::at(now + policy_.patience);
  return {};
}

void Membership::leave(int rank) {
  at(rank).is_waiting = false;
  at(rank).broke_off = true;
  if (count_waiting() == 0) patience_ends_ = Deadline::never();
}

void Membership::ended(int rank, bool well) {
  if (at(rank).standing == Standing::member) {
    at(rank).standing = well ? Standing::ended_well : Standing::lost;
    if (first_to_end_ < 0) first_to_end_ = rank;
  }
}

bool Membership::can_go_on() const {
  const auto left = std::count_if(ranks_.begin(), ranks_.end(), [](const Rank& rank) {
    return rank.standing == Standing::member || rank.standing == Standing::ended_well;
  });
  return may_lose_ranks() && left >= policy_.min_size;
}

bool Membership::is_waiting(int rank) const { return ranks_[static_cast<std::size_t>(rank)].is_waiting; }

int Membership::count_waiting() const {
  return static_cast<int>(
      std::count_if(ranks_.begin(), ranks_.end(), [](const Rank& rank) { return rank.is_waiting; }));
}

bool Membership::is_complete(Clock::time_point now) const {
  const int waiting = count_waiting();
  if (waiting == 0) return false;
  const bool all_have_come = std::all_of(ranks_.begin(), ranks_.end(), [this](const Rank& rank) {
    return rank.is_waiting || !is_awaited(rank);
  });
  return all_have_come || (now >= patience_ends_.when() && waiting >= policy_.min_size);
}

Status Membership::hopeless(Clock::time_point now) const {
  if (!may_lose_ranks()) {
    if (first_to_end_ < 0) return {};
    const Rank& first = ranks_[static_cast<std::size_t>(first_to_end_)];
    return Status::aborted(with_refusal(words_of_end(first_to_end_, first.standing == Standing::ended_well)));
  }
  if (!can_go_on()) return Status::aborted(with_refusal(words_for_too_few()));
  if (patience_ends_.is_never()) return {};
  if (now < patience_ends_.when() || count_waiting() >= policy_.min_size) return {};
  return Status::aborted(text("after the loss of a rank only ", count_waiting(), " of at least ",
                              policy_.min_size, " ranks (--min-np) came to meet again within ",
                              policy_.patience.count(), " ms"));
}

std::vector<int> Membership::close() {
  std::vector<int> met;
  for (int rank = 0; rank < size(); ++rank) {
    if (at(rank).is_waiting) {
      met.push_back(rank);
    } else if (is_awaited(at(rank))) {
      at(rank).standing = Standing::given_up;
    }
    at(rank).is_waiting = at(rank).broke_off = false;
  }
  patience_ends_ = Deadline::never();
  refusal_.clear();
  return met;
}

std::vector<int> Membership::given_up() const {
  std::vector<int> out;
  for (int rank = 0; rank < size(); ++rank) {
    if (ranks_[static_cast<std::size_t>(rank)].standing == Standing::given_up) out.push_back(rank);
  }
  return out;
}

Attendance Membership::attendance() const {
  Attendance out;
  for (int rank = 0; rank < size(); ++rank) {
    const Rank& one = ranks_[static_cast<std::size_t>(rank)];
    if (one.is_waiting) {
      out.waiting.push_back(rank);
    } else if (is_awaited(one)) {
      (one.broke_off ? out.gone : out.missing).push_back(rank);
    }
  }
  return out;
}

std::string Membership::words_for_too_few() const {
  const auto left = std::count_if(ranks_.begin(), ranks_.end(),
                                  [](const Rank& rank) { return rank.standing == Standing::member; });
  return text("too few ranks are left to go on: ", left, "; hvdrun --min-np asks for ", policy_.min_size);
}

std::string Membership::with_refusal(const std::string& words) const {
  return refusal_.empty() ? words : text(words, ". A rank was refused before: ", refusal_);
}

}  // namespace hvd
