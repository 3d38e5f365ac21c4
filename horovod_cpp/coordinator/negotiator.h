// Negotiator: finds out which operations are ready on every rank. Pure: the reports of all ranks in, an ordered list out; no clock,
// lock or I/O. Every rank runs one on the same reports, so all come to the same list without a reply.
//
// A name gets a wire id, the same on all ranks, when it first appears in any report; afterwards only the id is sent.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/coordinator/declaration.h"
#include "horovod_cpp/coordinator/report.h"

namespace hvd {

// An operation that ends in this round on every rank that submitted it: by being executed (ok) or by an error.
struct Agreement {
  std::uint32_t wire_id = 0;
  std::shared_ptr<const Declaration> declaration;  // what all agreed on (with an error: the lowest rank's)
  Status status;
};

class Negotiator {
 public:
  explicit Negotiator(int size);

  // reports[r] is rank r's report of this round. Returns the operations that ended, in the order in which they became ready
  // everywhere. A failed Status means that a rank broke the protocol: the world has failed.
  Result<std::vector<Agreement>> step(std::span<const Report> reports);

  // Known after the step in which the name was first declared.
  std::optional<std::uint32_t> wire_id(const std::string& name) const;

  bool everyone_left() const { return left_count_ == size_; }

  // An operation that some ranks have submitted and others have not.
  struct Waiting {
    const Declaration* declaration;
    std::vector<int> ready_ranks;
    std::vector<int> missing_ranks;
  };
  std::vector<Waiting> waiting() const;
  bool has_waiting() const { return waiting_count_ > 0; }

 private:
  struct Entry {
    std::vector<std::shared_ptr<const Declaration>> by_rank;  // nullptr: not declared by that rank yet
    std::vector<bool> ready;
    int ready_count = 0;
  };

  Status declare(int rank, const Declaration& declaration);
  Status mark_ready(int rank, std::uint32_t wire_id, std::vector<Agreement>& ended);
  Agreement end(std::uint32_t wire_id, Status status);
  Status left_error(const Entry& entry) const;
  std::vector<int> left_without(const Entry& entry) const;
  std::vector<int> ranks_where(const std::vector<bool>& flags, bool value) const;
  const Declaration& any_declaration(const Entry& entry) const;

  int size_;
  std::vector<Entry> entries_;  // by wire id
  std::unordered_map<std::string, std::uint32_t> ids_;
  std::vector<bool> left_;
  int left_count_ = 0;
  int waiting_count_ = 0;  // entries that some ranks have reported
};

}  // namespace hvd
