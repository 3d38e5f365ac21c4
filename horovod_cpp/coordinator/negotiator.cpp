#include "horovod_cpp/coordinator/negotiator.h"

#include <algorithm>
#include <utility>

#include "horovod_cpp/base/rank_list.h"
#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

// Changes to process sets are agreed by all ranks, whatever set they are about.
int set_that_agrees(const Declaration& declaration) {
  return concerns_all_ranks(declaration.kind) ? ProcessSets::kAllRanks : declaration.process_set;
}

const std::shared_ptr<const Declaration>& any_declaration(
    const std::vector<std::shared_ptr<const Declaration>>& by_rank) {
  return *std::find_if(by_rank.begin(), by_rank.end(), [](const auto& d) { return d != nullptr; });
}

}  // namespace

Negotiator::Negotiator(int size) : size_(size), sets_(size), left_(static_cast<std::size_t>(size), false) {
  books_[ProcessSets::kAllRanks].joined.resize(static_cast<std::size_t>(size));
}

Result<std::vector<Agreement>> Negotiator::step(std::span<const Report> reports) {
  ++round_;
  for (const int process_set : std::exchange(removed_, {})) books_.erase(process_set);
  for (int rank = 0; rank < size_; ++rank) {
    for (const Declaration& declaration : reports[rank].declarations)
      HVD_RETURN_IF_ERROR(declare(rank, declaration));
  }
  for (int rank = 0; rank < size_; ++rank) {
    HVD_RETURN_IF_ERROR(mark_ready(reports[rank], rank));
    if (reports[rank].is_leaving && !left_[rank]) {
      left_[rank] = true;
      ++left_count_;
    }
  }
  if (left_count_ > 0 && left_count_ < size_) end_what_leavers_miss();
  return groups_.pass(std::exchange(ended_, {}));
}

Status Negotiator::declare(int rank, const Declaration& declaration) {
  const auto book = books_.find(set_that_agrees(declaration));
  if (book == books_.end() || position_in(*sets_.members(book->first), rank) < 0) {
    return Status::aborted(text("rank ", rank, " declared ", describe(declaration),
                                ", but there is no such process set, or it is not a member"));
  }
  if (const Status bad = validate(declaration, rank, *sets_.members(book->first)); !bad.is_ok()) {
    return Status::aborted(bad.message());
  }
  const auto [position, is_new] =
      book->second.ids.try_emplace(declaration.name, static_cast<std::uint32_t>(entries_.size()));
  if (is_new) {
    const auto ranks = static_cast<std::size_t>(size_);
    entries_.push_back({book->first, std::vector<std::shared_ptr<const Declaration>>(ranks),
                        std::vector<bool>(ranks, false), std::vector<Extents>(ranks)});
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

Status Negotiator::mark_ready(const Report& report, int rank) {
  for (const Report::Ready& ready : report.ready) {
    std::uint32_t id = ready.index;
    if (ready.is_declared_here) id = *wire_id(report.declarations[ready.index]);
    HVD_RETURN_IF_ERROR(mark_ready(rank, id, ready.extents));
  }
  return {};
}

Status Negotiator::mark_ready(int rank, std::uint32_t wire_id, const Extents& extents) {
  if (wire_id >= entries_.size() || entries_[wire_id].by_rank.empty() || !entries_[wire_id].by_rank[rank] ||
      entries_[wire_id].ready[rank]) {
    return Status::aborted(text("rank ", rank, " reported operation number ", wire_id,
                                ", which it has not declared or has reported already"));
  }
  Entry& entry = entries_[wire_id];
  const Declaration& declaration = *entry.by_rank[rank];
  if (const Status bad = validate(declaration, extents, rank, members_of(entry).size()); !bad.is_ok()) {
    return Status::aborted(bad.message());
  }
  entry.ready[rank] = true;
  entry.extents[rank] = extents;
  entry.latest_count = entry.latest_round == round_ ? entry.latest_count + 1 : 1;
  entry.latest_round = round_;
  entry.latest_rank = rank;
  if (entry.ready_count++ == 0) ++waiting_count_;
  if (declaration.kind == OpKind::join) join(rank, entry.process_set);
  end_if_complete(wire_id);
  return {};
}

// What the others wait for may need no more than this.
void Negotiator::join(int rank, int process_set) {
  Book& book = books_.at(process_set);
  if (!book.joined[rank]) ++book.joined_count;
  book.joined[rank] = true;
  book.last_joined = rank;
  for (std::uint32_t id = 0; id < entries_.size(); ++id) {
    const Entry& entry = entries_[id];
    if (entry.ready_count == 0 || entry.process_set != process_set) continue;
    if (any_declaration(entry.by_rank)->kind != OpKind::join) end_if_complete(id);
  }
}

bool Negotiator::contributes(const Entry& entry, int rank) const {
  return entry.ready[rank] || books_.at(entry.process_set).joined[rank];
}

void Negotiator::end_if_complete(std::uint32_t wire_id) {
  const Entry& entry = entries_[wire_id];
  const std::vector<int>& members = members_of(entry);
  if (entry.ready_count + books_.at(entry.process_set).joined_count < members.size()) return;
  const bool is_join = any_declaration(entry.by_rank)->kind == OpKind::join;
  for (const int rank : members) {
    if (is_join ? !entry.ready[rank] : !contributes(entry, rank)) return;
  }
  end(wire_id, outcome(entry));
}

Status Negotiator::outcome(const Entry& entry) const {
  const auto& first = entry.by_rank[first_ready(entry)];
  const std::vector<int>& members = members_of(entry);
  const bool all_equal = std::all_of(members.begin(), members.end(), [&](const int rank) {
    return !entry.ready[rank] || entry.by_rank[rank] == first;
  });
  if (!all_equal) {
    std::vector<RankDeclaration> declarations;
    for (const int rank : ready_ranks(entry)) declarations.push_back({rank, entry.by_rank[rank].get()});
    HVD_RETURN_IF_ERROR(check_agreement(declarations));
  }
  if (first->kind == OpKind::remove_process_set && sets_.members(first->process_set) == nullptr) {
    return Status::mismatch(text(describe(*first), ": there is no such process set any more"));
  }
  if (entry.ready_count == members.size()) return {};
  std::vector<int> joined;
  for (const int rank : members_of(entry)) {
    if (!entry.ready[rank]) joined.push_back(rank);
  }
  return check_join(*first, joined);
}

void Negotiator::end(std::uint32_t wire_id, Status status) {
  Entry& entry = entries_[wire_id];
  const bool had_to_wait = entry.latest_count == 1 && entry.ready_count > 1;
  Agreement agreement{wire_id, entry.by_rank[first_ready(entry)],   std::move(status), {},
                      0,       had_to_wait ? entry.latest_rank : -1};
  if (agreement.declaration->kind == OpKind::allgather || agreement.declaration->kind == OpKind::alltoall) {
    for (const int rank : members_of(entry)) {
      agreement.extents.push_back(entry.ready[rank] ? std::move(entry.extents[rank]) : Extents{0});
    }
  }
  std::fill(entry.ready.begin(), entry.ready.end(), false);
  entry.ready_count = 0;
  --waiting_count_;
  take_effect(agreement);
  ended_.push_back(std::move(agreement));
}

void Negotiator::take_effect(Agreement& agreement) {
  const Declaration& declaration = *agreement.declaration;
  const auto ranks = static_cast<std::size_t>(size_);
  if (declaration.kind == OpKind::join) {
    Book& book = books_.at(declaration.process_set);
    agreement.number = book.last_joined;
    book.joined.assign(ranks, false);
    book.joined_count = 0;
  }
  if (!agreement.status.is_ok()) return;
  switch (declaration.kind) {
    case OpKind::add_process_set:
      agreement.number = sets_.add(declaration.ranks);
      books_[agreement.number].joined.resize(ranks);
      break;
    case OpKind::remove_process_set:
      remove_process_set(declaration.process_set);
      break;
    default:
      break;
  }
}

void Negotiator::remove_process_set(int process_set) {
  for (std::uint32_t id = 0; id < entries_.size(); ++id) {
    Entry& entry = entries_[id];
    if (entry.process_set != process_set || entry.by_rank.empty()) continue;
    if (entry.ready_count > 0) {
      const std::vector<int> ready = ready_ranks(entry);
      end(id, Status::mismatch(text(describe(*any_declaration(entry.by_rank)),
                                    ": the process set was removed while ", name_of_ranks(ready),
                                    " waited for ", name_of_ranks(missing_ranks(entry, false)),
                                    ". Wait for its operations before removing it.")));
    }
    entry.by_rank = {};
    entry.extents = {};
  }
  sets_.remove(process_set);
  removed_.push_back(process_set);
}

void Negotiator::end_what_leavers_miss() {
  for (std::uint32_t id = 0; id < entries_.size(); ++id) {
    const Entry& entry = entries_[id];
    if (entry.ready_count > 0 && !missing_ranks(entry, true).empty()) end(id, left_error(entry));
  }
}

Status Negotiator::left_error(const Entry& entry) const {
  return Status::shut_down(text(describe(*any_declaration(entry.by_rank)), ": ",
                                name_of_ranks(missing_ranks(entry, true)),
                                " shut down without submitting it, while ", name_of_ranks(ready_ranks(entry)),
                                " submitted it. Run the same number of steps on every rank."));
}

std::vector<int> Negotiator::missing_ranks(const Entry& entry, bool only_left) const {
  std::vector<int> ranks;
  for (const int rank : members_of(entry)) {
    if (!contributes(entry, rank) && (left_[rank] || !only_left)) ranks.push_back(rank);
  }
  return ranks;
}

int Negotiator::first_ready(const Entry& entry) const {
  const std::vector<int>& members = members_of(entry);
  return *std::find_if(members.begin(), members.end(), [&](const int rank) { return entry.ready[rank]; });
}

std::vector<int> Negotiator::ready_ranks(const Entry& entry) const {
  std::vector<int> ranks;
  for (const int rank : members_of(entry)) {
    if (entry.ready[rank]) ranks.push_back(rank);
  }
  return ranks;
}

std::optional<std::uint32_t> Negotiator::wire_id(const Declaration& declaration) const {
  const auto book = books_.find(set_that_agrees(declaration));
  if (book == books_.end()) return std::nullopt;
  const auto found = book->second.ids.find(declaration.name);
  return found == book->second.ids.end() ? std::nullopt : std::optional(found->second);
}

std::vector<Negotiator::Waiting> Negotiator::waiting() const {
  std::vector<Waiting> out;
  for (const Entry& entry : entries_) {
    if (entry.ready_count == 0) continue;
    out.push_back({any_declaration(entry.by_rank).get(), ready_ranks(entry), missing_ranks(entry, false)});
  }
  return out;
}

}  // namespace hvd
