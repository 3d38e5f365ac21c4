#include "tests/bench/conductor.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "horovod_cpp/base/text.h"
#include "tests/bench/statistics.h"

namespace hvd::bench {
namespace {

Status interruption() {
  return interrupted_by() == 0 ? Status() : Status::aborted(text("interrupted by signal ", interrupted_by()));
}

Row& row_of(Cell& cell, const Job& job) {
  return *std::find_if(cell.rows.begin(), cell.rows.end(),
                       [&](const Row& row) { return row.key == job.key(); });
}

}  // namespace

Conductor::Conductor(Plan plan, Surroundings around, std::function<void(const std::string&)> say)
    : plan_(std::move(plan)), around_(std::move(around)), say_(std::move(say)) {}

Status Conductor::run(std::vector<Cell>& cells) {
  for (const int ranks : plan_.ranks) {
    HVD_RETURN_IF_ERROR(start_all(ranks));
    for (const auto& workload : plan_.workloads) {
      auto cell = measure(workload, ranks);
      HVD_RETURN_IF_ERROR(cell.status());
      cells.push_back(std::move(cell).value());
    }
    say_(text(ranks, " ranks: contenders leave"));
    for (auto& job : jobs_) job->finish();
    jobs_.clear();
  }
  return interruption();
}

Status Conductor::start_all(int ranks) {
  say_(text(ranks, " ranks: contenders start"));
  jobs_.clear();
  absent_.clear();
  for (const auto& key : plan_.contenders) {
    const auto plan = start_plan(*find_contender(key), ranks, around_);
    Status status = plan.status();
    if (status.is_ok()) {
      auto job = Job::start(key, plan.value());
      status = job.status();
      // One after the other: starting together they would be slow enough to look dead.
      if (status.is_ok()) status = job.value()->wait_for_join(Deadline::after(std::chrono::minutes(2)));
      if (status.is_ok()) jobs_.push_back(std::move(job).value());
    }
    HVD_RETURN_IF_ERROR(interruption());
    if (!status.is_ok()) {
      say_(text(key, ": ", status.message()));
      absent_.push_back({key, status.message()});
    }
  }
  return {};
}

void Conductor::lose(Cell& cell, const std::string& key, const Status& why) {
  if (why.code() != StatusCode::unimplemented) say_(text(key, ", ", cell.workload, ": ", why.message()));
  cell.left_out.push_back({key, why.message()});
  std::erase_if(cell.rows, [&](const Row& row) { return row.key == key; });
  if (why.code() == StatusCode::unimplemented) return;
  // Destroyed: its processes are killed.
  std::erase_if(jobs_, [&](const auto& job) { return job->key() == key; });
  absent_.push_back({key, text("has failed before, in ", cell.workload, ": ", why.message())});
}

Status Conductor::perform(Cell& cell, Job& job, const Command& command) {
  // 20 MB/s is slow for anybody; a step of a model takes seconds at most.
  const auto bytes = static_cast<double>(cell.bytes) * cell.ranks * std::max(command.count, 1);
  const auto for_bytes = std::chrono::seconds(static_cast<long>(bytes / 20e6));
  return job.perform(command, Deadline::after(plan_.patience + for_bytes));
}

void Conductor::prepare_all(Cell& cell) {
  Command command{.action = Action::prepare};
  set_text(command.workload, cell.workload);
  std::vector<std::pair<std::string, Status>> lost;
  for (auto& job : jobs_) {
    const Status status = perform(cell, *job, command);
    if (status.is_ok()) {
      cell.rows.push_back({.key = job->key(), .title = job->title()});
    } else {
      lost.emplace_back(job->key(), status);
    }
  }
  for (const auto& [key, why] : lost) lose(cell, key, why);
}

Result<Cell> Conductor::measure(const std::string& name, int ranks) {
  say_(text(ranks, " ranks, ", name));
  const Workload workload = workload_named(name).value();
  Cell cell{.workload = name,
            .batch = workload.batch,
            .tensors = workload.tensors.size(),
            .bytes = workload.element_count() * sizeof(float),
            .ranks = ranks};
  cell.repetitions = repetitions_in_a_turn(workload);
  cell.left_out = absent_;
  const std::uint64_t available = available_memory_bytes();
  if (!fits(workload, ranks, available)) {
    for (const auto& job : jobs_) cell.left_out.push_back({job->key(), "too little free memory here"});
    return cell;
  }
  cell.gave_back = must_give_back(workload, ranks, jobs_.size(), available);
  cell.load_before = load_average();
  prepare_all(cell);
  HVD_RETURN_IF_ERROR(interruption());
  HVD_RETURN_IF_ERROR(take_turns(cell));
  cell.load_after = load_average();
  for (const Row& row : std::vector(cell.rows)) {
    const auto job =
        std::find_if(jobs_.begin(), jobs_.end(), [&](const auto& j) { return j->key() == row.key; });
    if (const Status status = perform(cell, **job, {.action = Action::drop}); !status.is_ok())
      lose(cell, row.key, status);
  }
  HVD_RETURN_IF_ERROR(interruption());
  return cell;
}

double Conductor::own_cpu_seconds() const {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  double seconds = static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
  for (const auto& job : jobs_) seconds += job->cpu_seconds();
  return seconds;
}

Status Conductor::take_turn(Cell& cell, Job& job, int round) {
  Command command{.action = Action::repeat};
  command.first = (round + plan_.warm_up) * cell.repetitions;
  command.count = cell.repetitions;
  command.give_back = cell.gave_back;
  HVD_RETURN_IF_ERROR(perform(cell, job, command));
  HVD_RETURN_IF_ERROR(job.ranks_agree());
  if (round < 0) return {};
  Row& row = row_of(cell, job);
  row.seconds.push_back(median(job.durations(cell.repetitions)));
  row.title = job.title();
  return {};
}

Status Conductor::take_turns(Cell& cell) {
  for (int round = -plan_.warm_up; round < plan_.rounds; ++round) {
    if (round == 0) look_at_idlers(cell);
    const CpuTimes before = cpu_times();
    const double own_before = own_cpu_seconds();
    const auto began = std::chrono::steady_clock::now();
    bool has_lost = false;
    for (const Row& row : std::vector(cell.rows)) {
      const auto job =
          std::find_if(jobs_.begin(), jobs_.end(), [&](const auto& j) { return j->key() == row.key; });
      const Status status = take_turn(cell, **job, round);
      HVD_RETURN_IF_ERROR(interruption());
      if (status.is_ok()) continue;
      lose(cell, row.key, status);
      has_lost = true;
    }
    if (round < 0) continue;
    const CpuTimes after = cpu_times();
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - began;
    // A contender that was lost took its CPU time with it.
    const double own = has_lost ? after.busy_seconds - before.busy_seconds : own_cpu_seconds() - own_before;
    cell.rounds.push_back({.wall_seconds = wall.count(),
                           .foreign_seconds = std::max(0.0, after.busy_seconds - before.busy_seconds - own),
                           .steal_seconds = after.steal_seconds - before.steal_seconds});
  }
  return {};
}

// All contenders should sleep now. Those that do not would disturb the others.
void Conductor::look_at_idlers(Cell& cell) {
  constexpr double kSeconds = 0.3;
  constexpr double kMostCores = 0.01;
  std::map<std::string, double> before;
  for (const auto& job : jobs_) before[job->key()] = job->cpu_seconds();
  ::poll(nullptr, 0, static_cast<int>(kSeconds * 1000));
  for (Row& row : cell.rows) {
    const auto job =
        std::find_if(jobs_.begin(), jobs_.end(), [&](const auto& j) { return j->key() == row.key; });
    row.idle_cores = ((*job)->cpu_seconds() - before[row.key]) / kSeconds;
    if (row.idle_cores > kMostCores) (*job)->set_paused_between_turns();
    row.was_paused = (*job)->is_paused_between_turns();
  }
}

}  // namespace hvd::bench
