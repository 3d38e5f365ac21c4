#include "horovod_cpp/coordinator/declaration_table.h"

#include "horovod_cpp/base/text.h"

namespace hvd {

Result<TensorId> DeclarationTable::declare(const Declaration& declaration) {
  const std::lock_guard lock(mutex_);
  if (const auto known = names_.find(declaration.name); known != names_.end()) {
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
  HVD_RETURN_IF_ERROR(validate(declaration, rank_, size_));
  Name& name = names_[declaration.name];
  const TensorId id{static_cast<std::int32_t>(entries_.size())};
  entries_.push_back({std::make_shared<const Declaration>(declaration), &name});
  name.versions.push_back(id.index);
  return id;
}

Result<std::shared_ptr<const Declaration>> DeclarationTable::begin(TensorId id) {
  const std::lock_guard lock(mutex_);
  if (id.index < 0 || static_cast<std::size_t>(id.index) >= entries_.size()) {
    return Status::invalid_argument(text("rank ", rank_, ": tensor id ", id.index,
                                         " was not declared in this Session; call declare() first"));
  }
  Entry& entry = entries_[static_cast<std::size_t>(id.index)];
  if (entry.name->is_pending) {
    return Status::invalid_argument(
        text("rank ", rank_, ", ", describe(*entry.declaration),
             ": submitted again before the first submission was complete; wait for it, or use "
             "another name"));
  }
  entry.name->is_pending = true;
  return entry.declaration;
}

void DeclarationTable::end(TensorId id) {
  const std::lock_guard lock(mutex_);
  entries_[static_cast<std::size_t>(id.index)].name->is_pending = false;
}

}  // namespace hvd
