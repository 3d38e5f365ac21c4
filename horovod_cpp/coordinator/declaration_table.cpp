#include "horovod_cpp/coordinator/declaration_table.h"

#include <algorithm>
#include <tuple>

#include "horovod_cpp/base/text.h"

namespace hvd {

Result<const std::vector<int>*> DeclarationTable::find_members(const Declaration& declaration) const {
  const int set = declaration.process_set;
  if (sets_.members(set) == nullptr || being_removed_.contains(set)) {
    return Status::invalid_argument(text("rank ", rank_, ", ", describe(declaration),
                                         ": there is no process set ", set,
                                         sets_.members(set) == nullptr ? "" : " any more"));
  }
  if (!concerns_all_ranks(declaration.kind)) return sets_.members(set);
  if (declaration.kind == OpKind::remove_process_set && set == ProcessSets::kAllRanks) {
    return Status::invalid_argument(
        text("rank ", rank_, ", ", describe(declaration), ": the set of all ranks cannot be removed"));
  }
  return sets_.members(ProcessSets::kAllRanks);
}

Result<TensorId> DeclarationTable::declare(const Declaration& declaration) {
  const std::lock_guard lock(mutex_);
  const auto members = find_members(declaration);
  HVD_RETURN_IF_ERROR(members.status());
  const std::pair key(declaration.process_set, declaration.name);
  if (const auto known = names_.find(key); known != names_.end()) {
    for (const std::int32_t version : known->second.versions) {
      if (*entries_[static_cast<std::size_t>(version)].declaration == declaration) return TensorId{version};
    }
    if (known->second.is_pending) {
      return Status::invalid_argument(text("rank ", rank_, ", ", describe(declaration),
                                           ": declared with other properties while an operation of this name "
                                           "is pending; wait for that one first, "
                                           "or use another name"));
    }
  }
  HVD_RETURN_IF_ERROR(validate(declaration, rank_, *members.value()));
  Name& name = names_[key];
  const TensorId id{static_cast<std::int32_t>(entries_.size())};
  entries_.push_back({std::make_shared<const Declaration>(declaration), &name});
  name.versions.push_back(id.index);
  return id;
}

Result<std::shared_ptr<const Declaration>> DeclarationTable::begin(TensorId id, const Extents& extents) {
  const std::lock_guard lock(mutex_);
  if (id.index < 0 || static_cast<std::size_t>(id.index) >= entries_.size()) {
    return Status::invalid_argument(text("rank ", rank_, ": tensor id ", id.index,
                                         " was not declared in this Session; call declare() first"));
  }
  Entry& entry = entries_[static_cast<std::size_t>(id.index)];
  const Declaration& declaration = *entry.declaration;
  const auto members = find_members(declaration);
  HVD_RETURN_IF_ERROR(members.status());
  HVD_RETURN_IF_ERROR(validate(declaration, extents, rank_, members.value()->size()));
  if (entry.name->is_pending) {
    return Status::invalid_argument(
        text("rank ", rank_, ", ", describe(declaration),
             ": submitted again before the first submission was complete; wait for it, or use "
             "another name"));
  }
  entry.name->is_pending = true;
  entry.name->pending_version = id.index;
  entry.name->pending_since = std::chrono::steady_clock::now();
  if (declaration.kind == OpKind::remove_process_set) being_removed_.insert(declaration.process_set);
  return entry.declaration;
}

void DeclarationTable::end(TensorId id) {
  const std::lock_guard lock(mutex_);
  entries_[static_cast<std::size_t>(id.index)].name->is_pending = false;
}

std::vector<DeclarationTable::Pending> DeclarationTable::pending() const {
  std::vector<Pending> out;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, name] : names_) {
      if (!name.is_pending) continue;
      out.push_back(
          {entries_[static_cast<std::size_t>(name.pending_version)].declaration, name.pending_since});
    }
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return std::tie(a.since, a.declaration->name) < std::tie(b.since, b.declaration->name);
  });
  return out;
}

std::shared_ptr<const Declaration> DeclarationTable::find(TensorId id) const {
  const std::lock_guard lock(mutex_);
  const bool is_known = id.index >= 0 && static_cast<std::size_t>(id.index) < entries_.size();
  return is_known ? entries_[static_cast<std::size_t>(id.index)].declaration : nullptr;
}

void DeclarationTable::add_process_set(std::vector<int> members) {
  const std::lock_guard lock(mutex_);
  sets_.add(std::move(members));
}

void DeclarationTable::remove_process_set(int id) {
  const std::lock_guard lock(mutex_);
  sets_.remove(id);
  being_removed_.erase(id);
}

std::optional<std::vector<int>> DeclarationTable::members(int process_set) const {
  const std::lock_guard lock(mutex_);
  const std::vector<int>* members = sets_.members(process_set);
  return members == nullptr ? std::nullopt : std::optional(*members);
}

}  // namespace hvd
