// Negotiator: finds out which operations are ready on every rank. Pure: the reports of all ranks in, an ordered list out; no clock,
// lock or I/O. Every rank runs one on the same reports, so all come to the same list without a reply.
//
// A name gets a wire id, the same on all ranks, when it first appears in any report; afterwards only the id is sent. Names belong to a
// process set. Ranks that are no members of it keep the same books, so that the order of operations of overlapping sets is the same
// everywhere.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/coordinator/agreement.h"
#include "horovod_cpp/coordinator/declaration.h"
#include "horovod_cpp/coordinator/group_gate.h"
#include "horovod_cpp/coordinator/process_sets.h"
#include "horovod_cpp/coordinator/report.h"

namespace hvd {

class Negotiator {
 public:
  explicit Negotiator(int size);

  // reports[r] is rank r's report of this round. Returns the operations that ended, in the order in which they became ready
  // everywhere. A failed Status means that a rank broke the protocol: the world has failed.
  Result<std::vector<Agreement>> step(std::span<const Report> reports);

  // The id of its name; known after the step in which that was first declared.
  std::optional<std::uint32_t> wire_id(const Declaration& declaration) const;
  const ProcessSets& process_sets() const { return sets_; }

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
    int process_set = ProcessSets::kAllRanks;
    std::vector<std::shared_ptr<const Declaration>> by_rank;  // nullptr: not declared by that rank yet
    std::vector<bool> ready;
    std::vector<Extents> extents;  // by rank; what was reported with ready
    std::size_t ready_count = 0;
    // Who came in the latest round in which one came, and how many that were.
    std::uint64_t latest_round = 0;
    int latest_rank = -1;
    int latest_count = 0;
  };
  // What belongs to one process set.
  struct Book {
    std::unordered_map<std::string, std::uint32_t> ids;
    std::vector<bool> joined;  // by rank
    std::size_t joined_count = 0;
    int last_joined = 0;
  };

  Status declare(int rank, const Declaration& declaration);
  Status mark_ready(int rank, std::uint32_t wire_id, const Extents& extents);
  Status mark_ready(const Report& report, int rank);
  void join(int rank, int process_set);
  void end_if_complete(std::uint32_t wire_id);
  Status outcome(const Entry& entry) const;
  void end(std::uint32_t wire_id, Status status);
  void take_effect(Agreement& agreement);
  void remove_process_set(int process_set);
  void end_what_leavers_miss();
  Status left_error(const Entry& entry) const;

  const std::vector<int>& members_of(const Entry& entry) const { return *sets_.members(entry.process_set); }
  bool contributes(const Entry& entry, int rank) const;
  // Members without a contribution; only those that have left, or all.
  std::vector<int> missing_ranks(const Entry& entry, bool only_left) const;
  std::vector<int> ready_ranks(const Entry& entry) const;
  // The lowest; there is one.
  int first_ready(const Entry& entry) const;

  int size_;
  ProcessSets sets_;
  std::map<int, Book> books_;   // by process set
  std::vector<Entry> entries_;  // by wire id
  std::vector<bool> left_;
  int left_count_ = 0;
  std::uint64_t round_ = 0;
  int waiting_count_ = 0;         // entries that some ranks have reported
  std::vector<Agreement> ended_;  // in this step
  std::vector<int> removed_;      // process sets; their names are known until the next step
  GroupGate groups_;
};

}  // namespace hvd
