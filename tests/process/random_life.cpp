#include "tests/process/random_life.h"

#include <algorithm>
#include <stdexcept>
#include <thread>

#include "horovod_cpp/base/text.h"
#include "tests/ranks/session_calls.h"

namespace hvd {
namespace {

constexpr int kBuckets = 3;
constexpr std::size_t kElements = 3000;
constexpr std::size_t kMostSets = 5;

EpochPlan plan_of_life() {
  EpochPlan plan;
  for (std::size_t b = 0; b < kBuckets; ++b) {
    plan.buckets.push_back({plan.payload_bytes, kElements, DataType::float32, b, 1});
    plan.payload_bytes += kElements * sizeof(float);
  }
  plan.flags = kBuckets;
  return plan;
}

}  // namespace

RandomLife::RandomLife(Session& session, std::uint64_t seed)
    : session_(session), common_(seed), sets_{all_ranks(session)} {
  const Status opened =
      session.open_epochs("life", plan_of_life(), 0, [this](auto taken) { epochs_ = std::move(taken); })
          .wait(soon());
  if (!opened.is_ok() && opened.code() != StatusCode::unimplemented)
    throw std::runtime_error(opened.message());
}

std::vector<int> RandomLife::random_ranks() {
  std::vector<int> ranks;
  while (ranks.empty()) {
    for (int rank = 0; rank < session_.size(); ++rank) {
      if (common_() % 2 == 0) ranks.push_back(rank);
    }
  }
  return ranks;
}

const Membership& RandomLife::random_set() { return sets_[common_() % sets_.size()]; }

std::string RandomLife::add_or_remove() {
  if (sets_.size() < 2 || (sets_.size() < kMostSets && common_() % 2 == 0)) {
    const std::vector<int> ranks = random_ranks();
    const bool is_new = std::none_of(sets_.begin(), sets_.end(),
                                     [&ranks](const Membership& set) { return set.members == ranks; });
    if (is_new) sets_.push_back(add_set(session_, ranks));
    return "";
  }
  const std::size_t index = 1 + common_() % (sets_.size() - 1);
  const Status status = session_.remove_process_set(sets_[index].id).wait(soon());
  sets_.erase(sets_.begin() + static_cast<std::ptrdiff_t>(index));
  return status.message();
}

// At once, each from a thread of its own, under the same names.
std::string RandomLife::use_all_sets() {
  const int variant = static_cast<int>(common_() % 7);
  std::vector<std::string> wrong(sets_.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < sets_.size(); ++i) {
    if (sets_[i].position < 0) continue;
    threads.emplace_back([&, i] { wrong[i] = do_every_step(session_, sets_[i], "shared name", variant); });
  }
  for (std::thread& thread : threads) thread.join();
  const auto found = std::find_if(wrong.begin(), wrong.end(), [](const auto& one) { return !one.empty(); });
  return found == wrong.end() ? "" : *found;
}

std::string RandomLife::run_epochs(int count) {
  for (int i = 0; epochs_ && i < count; ++i) {
    ++epoch_;
    auto* const values = reinterpret_cast<float*>(epochs_->payload());
    for (std::size_t b = 0; b < kBuckets; ++b) {
      std::fill_n(values + b * kElements, kElements, static_cast<float>(epoch_ % 1000 + session_.rank()));
      epochs_->own_flags()[b] = std::byte{1};
      epochs_->publish(b);
    }
    epochs_->close({});
    if (epochs_->wait(Deadline::never())->state != EpochState::complete) return epochs_->failure().message();
    const int size = session_.size();
    const auto sum = static_cast<float>(epoch_ % 1000 * size) + static_cast<float>(size * (size - 1)) / 2;
    if (!std::all_of(values, values + kBuckets * kElements, [sum](float value) { return value == sum; }))
      return text("epoch ", epoch_, ": a wrong sum");
  }
  return "";
}

std::string RandomLife::act() {
  const auto kind = common_() % 7;
  const auto number = common_();
  const std::string name = text("action ", actions_++ % 11);
  try {
    switch (kind) {
      case 0:
        return add_or_remove();
      case 1:
        return use_all_sets();
      case 2:
        return interleave(session_, number, 1);
      case 3:
        return run_epochs(static_cast<int>(number % 50));
      case 4:
        return number % 4 == 0 ? join_when_out_of_data(session_) : run_epochs(1);
      default: {
        const Membership& set = random_set();
        if (set.position < 0) return "";
        return do_step(session_, set, static_cast<Step>(number % kSteps), name,
                       static_cast<int>(number / kSteps % 7));
      }
    }
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

}  // namespace hvd
