// Threads of a rank that are blocked in different calls when a peer dies: every one returns, with the first cause.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <functional>
#include <latch>
#include <random>
#include <thread>
#include <utility>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/world.h"
#include "tests/harness/run_processes.h"
#include "tests/harness/seed.h"
#include "tests/ranks/every_operation.h"
#include "tests/ranks/session_calls.h"

namespace hvd {
namespace {

constexpr int kSize = 3;

EpochPlan small_plan() {
  EpochPlan plan;
  plan.buckets = {{0, 16, DataType::float32, 0, 1}};
  plan.payload_bytes = 64;
  plan.flags = 1;
  return plan;
}

// What all ranks have before one dies.
struct Belongings {
  int joined_set = 0;
  int removed_set = 0;
  std::shared_ptr<Epochs> epochs;  // nothing where ranks share no memory
};

Result<Belongings> prepare(Session& session) {
  Belongings all;
  all.joined_set = add_set(session, {0, 1, 2}).id;
  all.removed_set = add_set(session, {0, 1}).id;
  const Status opened =
      session.open_epochs("plan", small_plan(), 0, [&](auto taken) { all.epochs = std::move(taken); })
          .wait(soon());
  if (!opened.is_ok() && opened.code() != StatusCode::unimplemented) return opened;
  return all;
}

// Begins, and returns what blocks until the end.
using Ending = std::function<Status()>;
using Call = std::function<Ending()>;

Ending end_of(const Work& work) {
  return [work] { return work.wait(); };
}

Call with_tensor(Session& session, OpKind kind) {
  return [&session, kind]() -> Ending {
    const auto data = std::make_shared<std::vector<float>>(30, 1.0F);
    const auto result = std::make_shared<std::vector<float>>();
    const Declaration declaration = float_tensor(kind, text("operation ", static_cast<int>(kind)), {30});
    const bool has_rows = kind == OpKind::allgather || kind == OpKind::alltoall;
    const Declaration rows = float_tensor(kind, declaration.name, {});
    const Extents extents = kind == OpKind::allgather ? Extents{30} : Extents{10, 10, 10};
    if (kind == OpKind::reducescatter) result->resize(10);
    const Work work = has_rows ? submit_rows(session, rows, *data, extents, *result)
                               : submit(session, declaration, data->data(),
                                        kind == OpKind::reducescatter ? result->data() : data->data());
    return [work, data, result] { return work.wait(); };
  };
}

std::vector<Call> calls(Session& session, const Belongings& all) {
  std::vector<Call> calls;
  for (const OpKind kind :
       {OpKind::allreduce, OpKind::allgather, OpKind::alltoall, OpKind::broadcast, OpKind::reducescatter})
    calls.push_back(with_tensor(session, kind));
  calls.emplace_back([&] { return end_of(session.barrier()); });
  calls.emplace_back([&] { return end_of(session.join(all.joined_set)); });
  calls.emplace_back([&] { return end_of(session.add_process_set({0, 2})); });
  calls.emplace_back([&] { return end_of(session.remove_process_set(all.removed_set)); });
  if (!all.epochs) return calls;
  calls.emplace_back(
      [&] { return end_of(session.open_epochs("second plan", small_plan(), 0, [](const auto&) {})); });
  calls.emplace_back([&]() -> Ending {
    all.epochs->publish(0);
    all.epochs->close({});
    return [epochs = all.epochs] {
      const auto outcome = epochs->wait(Deadline::never());
      return outcome->state == EpochState::complete ? Status() : epochs->failure();
    };
  });
  return calls;
}

// "" if all calls came back with one cause, in which the victim is named.
std::string block_in_all(Session& session, const Belongings& all, int victim, std::mt19937_64& random) {
  std::vector<Call> to_make = calls(session, all);
  std::shuffle(to_make.begin(), to_make.end(), random);
  const bool shuts_down = random() % 2 == 0;
  std::vector<Status> ends(to_make.size() + 1);
  std::latch begun(static_cast<std::ptrdiff_t>(to_make.size()));
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < to_make.size(); ++i) {
    threads.emplace_back([&, i] {
      const Ending end = to_make[i]();
      begun.count_down();
      ends[i] = end();
    });
  }
  begun.wait();
  ends.back() = shuts_down ? session.shutdown(Deadline::never()) : Status::aborted("");
  for (std::thread& thread : threads) thread.join();
  const Status first = session.status();
  if (!shuts_down) ends.back() = first;
  const std::string name = text("rank ", victim, " (pid ");
  for (std::size_t i = 0; i < ends.size(); ++i) {
    const Status& end = ends[i];
    if (end.code() != StatusCode::aborted || end.message().find(name) == std::string::npos)
      return text("call ", i, ": expected that it names ", name, ": ", name_of(end.code()), ' ',
                  end.message());
    if (end.message().find(first.message()) == std::string::npos)
      return text("two causes: ", first.message(), " and ", end.message());
  }
  return "";
}

HVD_PROCESS_CASE(blocked_in_all_calls) {
  const std::uint64_t seed = std::stoull(process_arguments().at(0));
  std::mt19937_64 common(seed);
  const int victim = static_cast<int>(common() % kSize);
  const auto delay = std::chrono::microseconds(common() % 2 == 0 ? common() % 3000 : 50'000);
  auto session = open_session();
  if (!session.is_ok()) return 2;
  const auto all = prepare(**session);
  if (!all.is_ok()) return 3;
  if (process_rank() == victim) {
    std::this_thread::sleep_for(delay);
    std::raise(SIGKILL);
  }
  std::mt19937_64 own(seed + 1 + static_cast<std::uint64_t>(process_rank()));
  std::ofstream(process_folder() + text("/told.", process_rank()))
      << block_in_all(**session, all.value(), victim, own);
  return 0;
}

class BlockedCalls : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Worlds, BlockedCalls, testing::Values(false, true),
                         [](const auto& info) { return info.param ? "tcp" : "shm"; });

TEST_P(BlockedCalls, AllReturnWithTheFirstCause) {
  for_each_seed(2, 100, [](std::uint64_t seed) {
    ProcessOptions options;
    options.case_arguments = {std::to_string(seed)};
    // Calls that do not return are ended by hvdrun, and tell nothing.
    options.launcher_arguments = {"--failure-grace", "30"};
    if (GetParam()) options.environment = {{"HVD_CONTROL", "tcp"}, {"HVD_CPU_OPERATIONS", "ring"}};
    const ProcessResult result = run_processes(kSize, "blocked_in_all_calls", options);
    EXPECT_EQ(result.exit_code, 128 + SIGKILL) << result.describe();
    EXPECT_TRUE(result.leftovers.empty()) << result.describe();
    int told = 0;
    for (const auto& [name, wrong] : result.files) {
      if (!name.starts_with("told.")) continue;
      EXPECT_EQ(wrong, "") << name;
      ++told;
    }
    EXPECT_EQ(told, kSize - 1) << result.describe();
  });
}

}  // namespace
}  // namespace hvd
