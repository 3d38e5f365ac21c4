#include "horovod_cpp/coordinator/stall_monitor.h"

#include <algorithm>

#include "horovod_cpp/base/rank_list.h"
#include "horovod_cpp/base/text.h"

namespace hvd {
StallMonitor::StallMonitor(int rank, std::chrono::seconds warn_after, std::chrono::seconds end_after)
    : rank_(rank), warn_after_(warn_after), end_after_(end_after) {}

std::chrono::milliseconds StallMonitor::interval() const {
  std::chrono::seconds shortest = std::max(warn_after_, end_after_);
  for (const auto limit : {warn_after_, end_after_}) {
    if (limit.count() > 0) shortest = std::min(shortest, limit);
  }
  return std::max(std::chrono::milliseconds(50), std::chrono::milliseconds(shortest) / 4);
}

StallMonitor::Verdict StallMonitor::check(Clock::time_point now, std::span<const Negotiator::Waiting> waiting,
                                          const std::function<std::string(int rank)>& trouble_of) {
  Verdict verdict;
  std::map<std::string, Since> still;
  for (const Negotiator::Waiting& operation : waiting) {
    const auto known = since_.find(operation.declaration->name);
    Since since = known == since_.end() ? Since{now} : known->second;
    const auto waited = std::chrono::duration_cast<std::chrono::seconds>(now - since.first_seen);
    const auto story = [&] {
      std::string words =
          text(describe(*operation.declaration), " has waited ", waited.count(), " s: submitted by ",
               name_of_ranks(operation.ready_ranks), ", not by ", name_of_ranks(operation.missing_ranks));
      for (const int rank : operation.missing_ranks) {
        const std::string trouble = trouble_of ? trouble_of(rank) : "";
        if (!trouble.empty()) words += text("; rank ", rank, ": ", trouble);
      }
      return words;
    };
    if (warn_after_.count() > 0 && waited >= warn_after_ && !since.is_reported) {
      since.is_reported = true;
      if (operation.ready_ranks.front() == rank_) {
        verdict.warnings.push_back(
            story() + ". Either that rank is slow, or it takes another path through the program.");
      }
    }
    if (end_after_.count() > 0 && waited >= end_after_ && verdict.end.is_ok()) {
      verdict.end = Status::aborted(story() + "; ended because HVD_STALL_SHUTDOWN_TIME_SECONDS asks for it");
    }
    still.emplace(operation.declaration->name, since);
  }
  since_ = std::move(still);
  return verdict;
}

}  // namespace hvd
