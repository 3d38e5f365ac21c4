// Pictures in words.
#include <algorithm>
#include <map>
#include <set>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/rank_picture.h"

namespace hvd {
namespace {

constexpr std::size_t kMostLines = 8;  // of one kind

// "rank 3", "ranks 0-2, 5".
std::string range_of(const std::set<int>& ranks) {
  std::string out = ranks.size() == 1 ? "rank " : "ranks ";
  for (auto at = ranks.begin(); at != ranks.end();) {
    const int first = *at;
    int last = first;
    for (++at; at != ranks.end() && *at == last + 1; ++at) last = *at;
    if (out.back() != ' ') out += ", ";
    out += last == first ? text(first) : last == first + 1 ? text(first, ", ", last) : text(first, "-", last);
  }
  return out;
}

// "62 s", "1.4 s", "25 ms".
std::string duration(std::chrono::milliseconds age) {
  if (age.count() < 1000) return text(age.count(), " ms");
  if (age.count() < 10'000) return text(age.count() / 1000, ".", age.count() / 100 % 10, " s");
  return text(age.count() / 1000, " s");
}

const char* wait_verb(const std::set<int>& ranks) { return ranks.size() == 1 ? "waits" : "wait"; }
const char* have(const std::set<int>& ranks) { return ranks.size() == 1 ? "has" : "have"; }

// One operation, seen on all ranks.
struct Operation {
  std::set<int> waiting;
  std::set<int> members;
  std::chrono::milliseconds age{};
};

// Who waits for whom; operations with the same answer share a line.
struct Situation {
  std::set<int> waiting, missing, unknown;
  auto operator<=>(const Situation&) const = default;
};
struct Operations {
  std::string first;
  std::size_t count = 0;
  std::chrono::milliseconds age{};
};

class Story {
 public:
  explicit Story(std::span<const RankSeen> ranks) : ranks_(ranks) {
    for (const RankSeen& one : ranks) {
      all_.insert(one.rank);
      if (one.picture) known_[one.rank] = &*one.picture;
    }
  }

  std::string tell() {
    tell_operations();
    tell_epochs();
    tell_absent();
    tell_each();
    return out_;
  }

 private:
  void line(const std::string& words) { out_ += text(out_.empty() ? "" : "\n", "  ", words); }
  void more(std::size_t total) {
    if (total > kMostLines) line(text("… and ", total - kMostLines, " more like that"));
  }

  // ", since step 1841": the lowest of them.
  std::string since_step(const std::set<int>& ranks) const {
    std::uint32_t lowest = ~std::uint32_t{0};
    for (const int rank : ranks) lowest = std::min(lowest, known_.at(rank)->steps);
    return lowest == 0 ? "" : text(" since step ", lowest);
  }

  void tell_operations() {
    std::map<std::string, Operation> operations;
    for (const auto& [rank, picture] : known_) {
      for (const RankPicture::Pending& one : picture->pending) {
        Operation& operation = operations[one.what];
        operation.waiting.insert(rank);
        operation.members =
            one.members.empty() ? all_ : std::set<int>(one.members.begin(), one.members.end());
        operation.age = std::max(operation.age, one.age);
      }
    }
    std::map<Situation, Operations> situations;
    for (const auto& [what, operation] : operations) {
      Situation situation{operation.waiting, {}, {}};
      for (const int member : operation.members) {
        if (operation.waiting.contains(member)) continue;
        const auto known = known_.find(member);
        // One with a long list may have it behind the end of what it sent.
        const bool is_known = known != known_.end() && known->second->more_pending == 0;
        (is_known ? situation.missing : situation.unknown).insert(member);
      }
      Operations& same = situations[situation];
      if (same.count == 0 || operation.age > same.age) same.first = what;
      same.age = std::max(same.age, operation.age);
      ++same.count;
    }
    std::vector<std::pair<Situation, Operations>> oldest_first(situations.begin(), situations.end());
    std::sort(oldest_first.begin(), oldest_first.end(), [](const auto& a, const auto& b) {
      return a.second.age != b.second.age ? a.second.age > b.second.age : a.first < b.first;
    });
    for (std::size_t i = 0; i < std::min(oldest_first.size(), kMostLines); ++i)
      tell_situation(oldest_first[i].first, oldest_first[i].second);
    more(oldest_first.size());
  }

  void tell_situation(const Situation& situation, const Operations& operations) {
    const auto& [waiting, missing, unknown] = situation;
    const std::string what = operations.count == 1
                                 ? operations.first
                                 : text(operations.first, " and ", operations.count - 1, " more");
    const std::string age = duration(operations.age);
    if (missing.empty()) {
      line(text(range_of(waiting), " ", wait_verb(waiting), " in ", what, " for ", age, since_step(waiting),
                unknown.empty() ? "; all have submitted it"
                                : text("; whether ", range_of(unknown), " ", have(unknown),
                                       " submitted it is not known")));
    } else if (waiting.size() == 1 && missing.size() > 1 && unknown.empty()) {
      line(text(range_of(waiting), " is in ", what, " that no other rank has called, for ", age,
                since_step(waiting)));
      blamed_.insert(waiting.begin(), waiting.end());
    } else {
      line(text(range_of(missing), " ", have(missing), " not submitted ", what, " for ", age, "; ",
                range_of(waiting), " ", wait_verb(waiting), since_step(waiting)));
      blamed_.insert(missing.begin(), missing.end());
    }
  }

  void tell_epochs() {
    std::map<std::string, std::map<int, const RankPicture::Epoch*>> plans;
    for (const auto& [rank, picture] : known_) {
      for (const RankPicture::Epoch& epoch : picture->epochs) plans[epoch.plan][rank] = &epoch;
    }
    for (const auto& [plan, waiting] : plans) tell_plan(plan, waiting);
  }

  void tell_plan(const std::string& plan, const std::map<int, const RankPicture::Epoch*>& waiting) {
    std::set<int> who;
    std::chrono::milliseconds age{};
    std::map<int, const RankPicture::Awaiting*> awaited;
    for (const auto& [rank, epoch] : waiting) {
      who.insert(rank);
      age = std::max(age, epoch->age);
      for (const RankPicture::Awaiting& one : epoch->awaited) awaited[one.rank] = &one;
    }
    for (const auto& [rank, one] : awaited) {
      if (who.contains(rank)) continue;  // it has come since
      const std::string what =
          one->missing == 0   ? text("not ended its backward of ", plan)
          : one->missing == 1 ? text("not produced ", one->first)
                              : text("not produced ", one->first, " and ", one->missing - 1, " more buckets");
      line(text("rank ", rank, " has ", what, " for ", duration(age), "; ", range_of(who), " ",
                wait_verb(who), " at the end of backward (", plan, ")", since_step(who)));
      blamed_.insert(rank);
    }
  }

  void tell_absent() {
    std::map<std::string, std::set<int>> by_reason;
    for (const RankSeen& one : ranks_) {
      if (!one.picture) by_reason[one.absence].insert(one.rank);
    }
    for (const auto& [reason, ranks] : by_reason) line(text(range_of(ranks), ": ", reason));
  }

  // Of those that hold up others; of all, if nobody is known to.
  void tell_each() {
    std::size_t told = 0;
    for (const auto& [rank, picture] : known_) {
      if (!blamed_.empty() && !blamed_.contains(rank)) continue;
      if (++told > kMostLines) continue;
      line(text("rank ", rank, ": ", picture->steps == 0 ? "" : text("step ", picture->steps, " taken, "),
                "last: ", picture->last));
    }
    more(told);
  }

  std::span<const RankSeen> ranks_;
  std::set<int> all_;
  std::map<int, const RankPicture*> known_;
  std::set<int> blamed_;
  std::string out_;
};

}  // namespace

std::string words_of(std::span<const RankSeen> ranks) { return Story(ranks).tell(); }

}  // namespace hvd
