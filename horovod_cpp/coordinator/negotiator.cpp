#include "horovod_cpp/coordinator/negotiator.h"

#include <algorithm>

#include "horovod_cpp/base/rank_list.h"
#include "horovod_cpp/base/text.h"

namespace hvd {
Negotiator::Negotiator(int size) : size_(size), left_(static_cast<std::size_t>(size), false) {}

Result<std::vector<Agreement>> Negotiator::step(std::span<const Report> reports) {
  std::vector<Agreement> ended;
  for (int rank = 0; rank < size_; ++rank) {
    for (const Declaration& declaration : reports[rank].declarations)
      HVD_RETURN_IF_ERROR(declare(rank, declaration));
  }
  for (int rank = 0; rank < size_; ++rank) {
    for (const Report::Ready& ready : reports[rank].ready) {
      const std::uint32_t id =
          ready.is_declared_here ? ids_.at(reports[rank].declarations[ready.index].name) : ready.index;
      HVD_RETURN_IF_ERROR(mark_ready(rank, id, ended));
    }
    if (reports[rank].is_leaving && !left_[rank]) {
      left_[rank] = true;
      ++left_count_;
    }
  }
  if (left_count_ > 0 && left_count_ < size_) {
    for (std::uint32_t id = 0; id < entries_.size(); ++id) {
      if (entries_[id].ready_count > 0 && !left_without(entries_[id]).empty())
        ended.push_back(end(id, left_error(entries_[id])));
    }
  }
  return ended;
}

Status Negotiator::declare(int rank, const Declaration& declaration) {
  const auto [position, is_new] =
      ids_.try_emplace(declaration.name, static_cast<std::uint32_t>(entries_.size()));
  if (is_new) {
    entries_.push_back(
        {std::vector<std::shared_ptr<const Declaration>>(size_), std::vector<bool>(size_, false), 0});
  }
  Entry& entry = entries_[position->second];
  if (entry.ready[rank]) {
    return Status::aborted(
        text("rank ", rank, " declared ", describe(declaration), " again while it was pending"));
  }
  // Equal declarations share one object: agreement is then a comparison of pointers.
  for (const auto& other : entry.by_rank) {
    if (other && *other == declaration) {
      entry.by_rank[rank] = other;
      return {};
    }
  }
  entry.by_rank[rank] = std::make_shared<const Declaration>(declaration);
  return {};
}

Status Negotiator::mark_ready(int rank, std::uint32_t wire_id, std::vector<Agreement>& ended) {
  if (wire_id >= entries_.size() || !entries_[wire_id].by_rank[rank] || entries_[wire_id].ready[rank]) {
    return Status::aborted(text("rank ", rank, " reported operation number ", wire_id,
                                ", which it has not declared or has reported already"));
  }
  Entry& entry = entries_[wire_id];
  entry.ready[rank] = true;
  if (entry.ready_count == 0) ++waiting_count_;
  if (++entry.ready_count < size_) return {};

  const auto& first = entry.by_rank.front();
  const bool all_equal = std::all_of(entry.by_rank.begin(), entry.by_rank.end(),
                                     [&](const auto& declaration) { return declaration == first; });
  Status status;
  if (!all_equal) {
    std::vector<const Declaration*> declarations;
    for (const auto& declaration : entry.by_rank) declarations.push_back(declaration.get());
    status = check_agreement(declarations);
  }
  ended.push_back(end(wire_id, std::move(status)));
  return {};
}

Agreement Negotiator::end(std::uint32_t wire_id, Status status) {
  Entry& entry = entries_[wire_id];
  std::fill(entry.ready.begin(), entry.ready.end(), false);
  entry.ready_count = 0;
  --waiting_count_;
  const auto declared =
      std::find_if(entry.by_rank.begin(), entry.by_rank.end(), [](const auto& d) { return d != nullptr; });
  return {wire_id, *declared, std::move(status)};
}

Status Negotiator::left_error(const Entry& entry) const {
  return Status::shut_down(text(describe(any_declaration(entry)), ": ", name_of_ranks(left_without(entry)),
                                " shut down without submitting it, while ",
                                name_of_ranks(ranks_where(entry.ready, true)),
                                " submitted it. Run the same number of steps on every rank."));
}

std::vector<int> Negotiator::left_without(const Entry& entry) const {
  std::vector<int> ranks;
  for (int rank = 0; rank < size_; ++rank) {
    if (left_[rank] && !entry.ready[rank]) ranks.push_back(rank);
  }
  return ranks;
}

const Declaration& Negotiator::any_declaration(const Entry& entry) const {
  return **std::find_if(entry.by_rank.begin(), entry.by_rank.end(),
                        [](const auto& d) { return d != nullptr; });
}

std::vector<int> Negotiator::ranks_where(const std::vector<bool>& flags, bool value) const {
  std::vector<int> ranks;
  for (int rank = 0; rank < size_; ++rank) {
    if (flags[rank] == value) ranks.push_back(rank);
  }
  return ranks;
}

std::optional<std::uint32_t> Negotiator::wire_id(const std::string& name) const {
  const auto found = ids_.find(name);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<Negotiator::Waiting> Negotiator::waiting() const {
  std::vector<Waiting> out;
  for (const Entry& entry : entries_) {
    if (entry.ready_count == 0) continue;
    out.push_back({&any_declaration(entry), ranks_where(entry.ready, true), ranks_where(entry.ready, false)});
  }
  return out;
}

}  // namespace hvd
