#include "launcher/outcome.h"

#include <algorithm>
#include <csignal>
#include <map>

#include "horovod_cpp/base/rank_list.h"
#include "horovod_cpp/base/text.h"
#include "launcher/job.h"
#include "launcher/signal_name.h"

namespace hvd::launcher {
namespace {

constexpr std::chrono::milliseconds kSameMoment{200};

// A process does not do this to itself because a peer is gone.
bool is_cause(const RankEnd& end) {
  return end.signal != 0 && end.signal != SIGABRT && end.signal != SIGTERM && end.signal != SIGPIPE;
}

std::string how(const RankEnd& end, bool is_one = true) {
  if (end.signal != 0)
    return text(is_one ? "was " : "were ", end.ended_by_us ? "ended by hvdrun with " : "killed by ",
                name_of_signal(end.signal));
  return text("exited with status ", end.exit_code);
}

int status_of(const RankEnd& end) { return end.signal != 0 ? kExitSignalBase + end.signal : end.exit_code; }

const RankEnd* first_cause(const std::vector<RankEnd>& ends) {
  const RankEnd* first = nullptr;
  for (const auto& end : ends) {
    if (!end.failed() || end.ended_by_us) continue;
    if (first == nullptr) first = &end;
    if (end.seen - first->seen > kSameMoment) break;
    if (is_cause(end)) return &end;
  }
  return first;
}

std::string name_ranks(std::vector<int> ranks) {
  std::sort(ranks.begin(), ranks.end());
  std::string list;
  for (const int rank : ranks) list += text(list.empty() ? "" : ", ", rank);
  return text(ranks.size() > 1 ? "ranks " : "rank ", list);
}

// Those who left well before the first failure: they may be its reason, if the others had still needed them.
std::vector<std::string> left_before(const std::vector<RankEnd>& ends, const RankEnd* cause) {
  std::vector<int> ranks;
  for (const auto& end : ends) {
    if (&end == cause) break;
    if (!end.failed()) ranks.push_back(end.rank);
  }
  if (ranks.empty() || cause == nullptr) return {};
  return {text("before that ", name_ranks(ranks), " exited with status 0")};
}

// "ranks 0, 3 exited with status 1"
std::vector<std::string> others(const std::vector<RankEnd>& ends, const RankEnd* cause) {
  std::vector<std::pair<RankEnd, std::vector<int>>> groups;  // one of each, and the ranks of all
  for (const auto& end : ends) {
    if (&end == cause || !end.failed()) continue;
    auto group =
        std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return how(g.first) == how(end); });
    if (group == groups.end()) group = groups.insert(groups.end(), {end, {}});
    group->second.push_back(end.rank);
  }
  std::vector<std::string> lines;
  for (const auto& [end, ranks] : groups)
    lines.push_back(text("then ", name_ranks(ranks), " ", how(end, ranks.size() == 1)));
  return lines;
}

}  // namespace

std::string words_of_loss(const RankEnd& end, const std::vector<int>& left) {
  return text("rank ", end.rank, " (pid ", end.pid, ") ", how(end), "; the job goes on with ",
              name_of_ranks(left));
}

Outcome outcome_of(const std::vector<RankEnd>& ends, std::optional<int> passed_on) {
  Outcome outcome;
  const bool any_failed = std::any_of(ends.begin(), ends.end(),
                                      [](const RankEnd& end) { return end.failed() && !end.job_went_on; });
  if (!any_failed) return outcome;

  if (passed_on) {
    outcome.exit_status = kExitSignalBase + *passed_on;
    outcome.lines.push_back(text("received ", name_of_signal(*passed_on), "; the job has ended"));
    return outcome;
  }
  const RankEnd* const cause = first_cause(ends);
  if (cause == nullptr) {  // only possible if we ended ranks without a reason of theirs
    outcome.exit_status = 1;
  } else if (!cause->start_error.empty()) {  // the same for every rank
    outcome.exit_status = status_of(*cause);
    outcome.lines.push_back(cause->start_error);
    return outcome;
  } else {
    outcome.exit_status = status_of(*cause);
    outcome.lines.push_back(
        text("rank ", cause->rank, " (pid ", cause->pid, ") ", how(*cause), "; the job has ended"));
  }
  const auto before = left_before(ends, cause);
  outcome.lines.insert(outcome.lines.end(), before.begin(), before.end());
  const auto rest = others(ends, cause);
  outcome.lines.insert(outcome.lines.end(), rest.begin(), rest.end());
  return outcome;
}

}  // namespace hvd::launcher
