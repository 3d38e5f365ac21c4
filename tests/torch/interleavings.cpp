#include "tests/torch/interleavings.h"

#include <chrono>
#include <future>
#include <list>
#include <optional>
#include <thread>

#include "horovod_cpp/base/text.h"
#include "tests/torch/interleavings_operations.h"
#include "tests/torch/interleavings_plan.h"
#include "tests/torch/interleavings_training.h"

namespace hvd {
namespace {

// An ad-hoc operation of this rank.
struct Item {
  enum class State { new_one, is_open, is_done };
  AdHoc what;
  State state = State::new_one;
  bool is_taken = false;  // some thread is at it
  Handles handles;
  std::vector<at::Tensor> inputs;  // of the operation that handles belong to
};

// What a thread of this rank does next with an item: submits it, or waits for it.
struct Job {
  Item* item;
  std::chrono::microseconds pause;
};

class Interleaving {
 public:
  Interleaving(std::shared_ptr<Context> context, std::uint64_t seed)
      : context_(std::move(context)), seed_(seed), own_(own_dice(seed, context_->rank())) {}

  void run_round(int round) {
    const RoundPlan plan = plan_of_round(seed_, round);
    if (plan.starts_anew) start_anew();
    begin(plan);
    for (std::size_t i = 0; i < plan.steps.size(); ++i) {
      step_ = static_cast<int>(i);
      try {
        take(plan.steps[i]);
      } catch (const std::exception& error) {
        throw std::runtime_error(text("round ", round, ", step ", i, ": ", error.what()));
      }
    }
    compare_digests(round);
  }

  // Waits for everything that is open.
  void finish() {
    run_all(choose([](const Item&) { return true; }, 1));
    items_.clear();
  }

  std::string summary(int rounds) const {
    return text(rounds, " rounds: ", steps_, " steps, ", dropped_, " of them dropped; ", operations_,
                " operations, ", in_backward_, " submitted or waited for inside a backward, ", beside_,
                " beside it on another thread");
  }

 private:
  void start_anew() {
    finish();
    training_.reset();
    for (std::size_t i = 1; i < sets_.size(); ++i) remove_process_set(sets_[i], context_);
    sets_.assign(1, ProcessSet());
    const auto& all = sets_of_ranks();
    for (std::size_t i = 1; i < all.size(); ++i) sets_.push_back(add_process_set(all[i], context_));
    training_.emplace(context_);
  }

  // What stays open from the last round is waited for in this one.
  void begin(const RoundPlan& plan) {
    std::erase_if(items_, [](const Item& item) { return item.state == Item::State::is_done; });
    for (Item& item : items_) {
      item.what.due = -1;
      item.what.last = own_.below(static_cast<int>(plan.steps.size()));
    }
    for (const AdHoc& operation : plan.operations) {
      const auto& members = sets_of_ranks()[static_cast<std::size_t>(operation.set)];
      if (std::find(members.begin(), members.end(), context_->rank()) == members.end()) continue;
      items_.emplace_back().what = operation;
      ++operations_;
    }
  }

  bool may_be_next(const Item& item) const {
    return item.state == Item::State::new_one || item.what.due < step_;
  }

  // Some of the items that `is_wanted`, one in `of`, in an order of this rank's own.
  template <class IsWanted>
  std::vector<Job> choose(IsWanted&& is_wanted, int of) {
    std::vector<Job> jobs;
    for (Item& item : items_) {
      if (item.is_taken || item.state == Item::State::is_done || !is_wanted(item) || !own_.one_in(of))
        continue;
      item.is_taken = true;
      jobs.push_back({&item, std::chrono::microseconds(own_.one_in(8) ? own_.below(300) : 0)});
    }
    own_.shuffle(jobs);
    return jobs;
  }
  std::vector<Job> choose_some(int of) {
    return choose([this](const Item& item) { return may_be_next(item); }, of);
  }

  // On any thread.
  void run(const std::vector<Job>& jobs) const {
    for (const auto& [item, pause] : jobs) {
      if (pause.count() > 0) std::this_thread::sleep_for(pause);
      if (item->state == Item::State::new_one) {
        item->handles =
            start(item->what, sets_[static_cast<std::size_t>(item->what.set)], context_, item->inputs);
      } else {
        wait_and_check(item->what, item->handles, context_->rank());
      }
    }
  }
  // Afterwards, on the rank's own thread.
  static void settle(const std::vector<Job>& jobs) {
    for (const Job& job : jobs) {
      Item& item = *job.item;
      const bool was_new = item.state == Item::State::new_one;
      item.state = was_new ? Item::State::is_open : Item::State::is_done;
      item.is_taken = false;
      if (!was_new) item.handles.clear();
    }
  }
  void run_all(const std::vector<Job>& jobs) {
    run(jobs);
    settle(jobs);
  }

  void take(const StepPlan& step) {
    run_all(choose_some(3));
    {
      const auto beside = own_.one_in(2) ? choose_some(3) : std::vector<Job>();
      std::future<void> second_thread;  // joins, also if this one throws
      if (!beside.empty()) second_thread = std::async(std::launch::async, [&] { run(beside); });
      training_->take(step, own_, [this](bool is_inside_backward) {
        const auto jobs = choose_some(4);
        if (is_inside_backward) in_backward_ += jobs.size();
        run_all(jobs);
      });
      if (second_thread.valid()) second_thread.get();
      settle(beside);
      beside_ += beside.size();
    }
    ++steps_;
    if (step.is_dropped()) ++dropped_;
    end_step();
  }

  // From here on every rank may wait for what is due with this step.
  void end_step() {
    auto jobs = choose(
        [this](const Item& item) { return item.state == Item::State::new_one && item.what.due <= step_; }, 1);
    const auto more = choose_some(4);
    jobs.insert(jobs.end(), more.begin(), more.end());
    own_.shuffle(jobs);
    run_all(jobs);
    const auto is_open = [this](const Item& item) {
      return item.state == Item::State::is_open && item.what.due <= step_;
    };
    jobs = choose([&](const Item& item) { return is_open(item) && item.what.last <= step_; }, 1);
    const auto others = choose(is_open, 4);
    jobs.insert(jobs.end(), others.begin(), others.end());
    own_.shuffle(jobs);
    run_all(jobs);
  }

  void compare_digests(int round) {
    const auto all = allgather(torch::tensor({training_->digest()}), {.context = context_});
    std::string digests;
    for (int rank = 0; rank < kRanks; ++rank) digests += text(' ', all[rank].item<std::int64_t>());
    if (!torch::equal(all, all[0].expand_as(all))) {
      throw std::runtime_error(
          text("after round ", round, " models or gradients differ between ranks:", digests));
    }
  }

  const std::shared_ptr<Context> context_;
  const std::uint64_t seed_;
  Dice own_;
  std::optional<Training> training_;
  std::vector<ProcessSet> sets_;
  std::list<Item> items_;
  int step_ = 0;  // of the round
  std::size_t steps_ = 0, dropped_ = 0, operations_ = 0, in_backward_ = 0, beside_ = 0;
};

}  // namespace

std::string run_interleavings(const std::shared_ptr<Context>& context, std::uint64_t seed, int rounds) {
  if (context->size() != kRanks) throw std::invalid_argument(text("this is for ", kRanks, " ranks"));
  Interleaving interleaving(context, seed);
  for (int round = 0; round < rounds; ++round) interleaving.run_round(round);
  interleaving.finish();
  return interleaving.summary(rounds);
}

}  // namespace hvd
