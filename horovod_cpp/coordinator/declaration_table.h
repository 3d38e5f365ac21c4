// Declaration table: what this rank has declared, and which names are pending. Thread-safe.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/coordinator/declaration.h"
#include "horovod_cpp/coordinator/submission.h"

namespace hvd {

class DeclarationTable {
 public:
  DeclarationTable(int rank, int size) : rank_(rank), size_(size) {}

  // The id of this exact declaration, made at its first appearance. A name may have several, one pending at a time.
  Result<TensorId> declare(const Declaration& declaration);
  // Marks the name pending and returns its declaration; invalid_argument if the id is unknown or the name is pending already.
  Result<std::shared_ptr<const Declaration>> begin(TensorId id);
  // The name may be submitted again.
  void end(TensorId id);

 private:
  struct Name {
    std::vector<std::int32_t> versions;
    bool is_pending = false;
  };
  struct Entry {
    std::shared_ptr<const Declaration> declaration;
    Name* name;
  };

  const int rank_;
  const int size_;
  std::mutex mutex_;
  std::deque<Entry> entries_;  // by TensorId
  std::unordered_map<std::string, Name> names_;
};

}  // namespace hvd
