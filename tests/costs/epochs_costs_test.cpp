// What an epoch costs besides the sums: nothing from the heap, no copy, no system call, no message.
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/epochs.h"
#include "tests/costs/allocations.h"
#include "tests/costs/copies.h"
#include "tests/costs/counted_session.h"
#include "tests/costs/system_calls.h"
#include "tests/harness/process_case.h"
#include "tests/harness/process_job.h"
#include "tests/harness/run_ranks.h"
#include "tests/harness/temp_folder.h"
#include "tests/ranks/session_calls.h"

namespace hvd {
namespace {

constexpr std::size_t kBuckets = 16;
constexpr std::size_t kElements = 100'000;  // of a bucket: four chunks
constexpr int kEpochs = 20;

using AllEpochs = std::vector<std::shared_ptr<Epochs>>;  // [rank]

EpochPlan plan_of_buckets(bool wants_squares) {
  EpochPlan plan;
  for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
    plan.buckets.push_back({plan.payload_bytes, kElements, DataType::float32, plan.flags++, 1});
    plan.payload_bytes += kElements * sizeof(float);
  }
  plan.wants_squares = wants_squares;
  return plan;
}

// A rank and its Session's messages.
struct Member {
  RankScope& scope;
  Session& session;
  const FaultyTransport& messages;
  AllEpochs& epochs;
};

// `body` for each rank, once the epochs of all are open; their Sessions are idle then.
void with_epochs(int ranks, const std::function<void(Member&)>& body, bool wants_squares = true) {
  InprocWorld world(ranks);
  AllEpochs all(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](RankScope& scope) {
    auto [session, messages] = open_counted_session(world, scope.rank());
    ASSERT_TRUE(session.is_ok()) << session.status().message();
    const PortGuard guard = scope.guard_local(**session);
    const Work opened = (*session)->open_epochs(
        "plan", plan_of_buckets(wants_squares), 0, [&](std::shared_ptr<Epochs> epochs) {
          all[static_cast<std::size_t>(scope.rank())] = std::move(epochs);
        });
    ASSERT_TRUE(opened.wait(soon()).is_ok());
    ASSERT_TRUE((*session)->barrier().wait(soon()).is_ok());
    Member member{scope, **session, *messages, all};
    body(member);
    ASSERT_TRUE((*session)->barrier().wait(soon()).is_ok());
    if (scope.rank() == 0) all.clear();
    EXPECT_TRUE((*session)->shutdown(soon()).is_ok());
  });
}

void write(Epochs& epochs, std::size_t bucket, float value) {
  auto* const first = reinterpret_cast<float*>(epochs.payload() + epochs.plan().buckets[bucket].begin_bytes);
  std::fill_n(first, kElements, value);
  epochs.own_flags()[bucket] = std::byte{1};
}

void expect_sums(Epochs& epochs, float sum) {
  for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
    const auto* const first =
        reinterpret_cast<const float*>(epochs.payload() + epochs.plan().buckets[bucket].begin_bytes);
    ASSERT_EQ(std::count(first, first + kElements, sum), kElements);
  }
}

// One thread is both ranks, so that nobody ever waits: backward's hooks, its end, the outcome.
void run_epoch(const AllEpochs& ranks, bool writes = true) {
  for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
    for (const auto& epochs : ranks) {
      if (writes) write(*epochs, bucket, 1.5F);
      epochs->publish(bucket);
      epochs->help();
    }
  }
  for (const auto& epochs : ranks) epochs->close({});
  for (const auto& epochs : ranks) {
    const auto outcome = epochs->wait(soon());
    ASSERT_TRUE(outcome.has_value());
    ASSERT_EQ(outcome->state, EpochState::complete);
  }
}

void in_one_thread(const std::function<void(const AllEpochs&)>& body) {
  with_epochs(2, [&](Member& member) {
    if (member.scope.rank() != 0) return;
    for (int warm = 0; warm < 3; ++warm) run_epoch(member.epochs);
    body(member.epochs);
    for (const auto& epochs : member.epochs) expect_sums(*epochs, 3.0F);
  });
}

TEST(EpochsCosts, NothingFromTheHeap) {
  in_one_thread([](const AllEpochs& epochs) {
    const Allocations before = allocations_so_far();
    for (int epoch = 0; epoch < kEpochs; ++epoch) run_epoch(epochs);
    EXPECT_EQ((allocations_so_far() - before).count, 0);
  });
}

// But for a kernel's few numbers.
TEST(EpochsCosts, NoCopy) {
  in_one_thread([](const AllEpochs& epochs) {
    const std::int64_t before = bytes_copied();
    for (int epoch = 0; epoch < kEpochs; ++epoch) run_epoch(epochs);
    const auto payload = static_cast<std::int64_t>(epochs.front()->plan().payload_bytes);
    EXPECT_LE(bytes_copied() - before, kEpochs * payload / 500);
  });
}

TEST(EpochsCosts, NoSystemCallWhileAllAreAwake) {
  if (!SystemCalls::can_be_counted()) GTEST_SKIP() << "this kernel hands no system calls over";
  in_one_thread([](const AllEpochs& epochs) {
    const SystemCalls calls;
    for (int epoch = 0; epoch < kEpochs; ++epoch) run_epoch(epochs);
    EXPECT_EQ(calls.count(), 0) << calls.describe();
  });
}

// Sleeps, or is about to: it does so in wait() only.
bool is_asleep(int thread) {
  std::ifstream file(text("/proc/self/task/", thread, "/stat"));
  std::string words;
  std::getline(file, words);
  const std::size_t name_ends = words.rfind(") ");
  return name_ends != std::string::npos && words[name_ends + 2] == 'S';
}

void wait_until_asleep(const std::vector<std::atomic<int>>& threads) {
  for (std::size_t rank = 1; rank < threads.size(); ++rank) {
    while (threads[rank] == 0 || !is_asleep(threads[rank]))
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// Under valgrind, by the test below.
HVD_PROCESS_CASE(epochs_of_one_thread) {
  const int count = std::stoi(process_arguments().at(0));
  with_epochs(
      2,
      [count](Member& member) {
        if (member.scope.rank() != 0) return;
        for (int epoch = 0; epoch < count; ++epoch) run_epoch(member.epochs, /*writes=*/false);
      },
      /*wants_squares=*/false);
  return 0;
}

struct BytesMoved {
  std::int64_t loaded = 0;
  std::int64_t stored = 0;
};

// What all instructions of so many epochs load and store, as valgrind's lackey counts it: a table with a line for each type of operand.
BytesMoved bytes_moved_in(int epochs) {
  const std::map<std::string, std::int64_t> sizes{{"I8", 1},  {"I16", 2}, {"I32", 4},   {"I64", 8},
                                                  {"F32", 4}, {"F64", 8}, {"V128", 16}, {"V256", 32}};
  const TempFolder scratch;
  const std::string log = scratch / "log";
  const std::string command =
      text("valgrind --tool=lackey --basic-counts=no --detailed-counts=yes --log-file=", log, ' ',
           program_folder(), "/costs_tests ", kCaseArgument, " epochs_of_one_thread ", epochs);
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  BytesMoved sum;
  std::ifstream file(log);
  for (std::string line; std::getline(file, line);) {
    std::erase(line, ',');
    std::istringstream words(line);
    std::string process, type;
    std::int64_t loads = 0, stores = 0;
    if (!(words >> process >> type >> loads >> stores) || !sizes.contains(type)) continue;
    sum.loaded += loads * sizes.at(type);
    sum.stored += stores * sizes.at(type);
  }
  return sum;
}

// Each rank's gradients are read once and written once, whichever instruction does it. The rest (pointers and counters; what begins or ends with
// the program falls out) is far less than another copy of one rank's gradients: half of this. The Sessions' threads, which wait meanwhile, do not fall out exactly.
TEST(EpochsCosts, MoveEachGradientInAndOutOnce) {
  if (std::system("valgrind --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "no valgrind";
  const BytesMoved few = bytes_moved_in(2);
  const BytesMoved many = bytes_moved_in(6);
  const auto floor = static_cast<double>(4 * 2 * kBuckets * kElements * sizeof(float));
  const auto loaded = static_cast<double>(many.loaded - few.loaded);
  const auto stored = static_cast<double>(many.stored - few.stored);
  EXPECT_GE(loaded, 0.95 * floor);
  EXPECT_LE(loaded, 1.25 * floor);
  EXPECT_GE(stored, 0.95 * floor);
  EXPECT_LE(stored, 1.1 * floor);
}

class EpochsWithSleepers : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, EpochsWithSleepers, testing::Values(2, 4, 7));

// All but rank 0 have published everything and sleep; it comes with one bucket after the other, and they fall asleep in between.
TEST_P(EpochsWithSleepers, AtMostTwoFutexCallsABucketAndRank) {
  if (!SystemCalls::can_be_counted()) GTEST_SKIP() << "this kernel hands no system calls over";
  const int ranks = GetParam();
  std::atomic<int> futex_calls{0};
  std::vector<std::atomic<int>> threads(static_cast<std::size_t>(ranks));  // of those who have published all
  with_epochs(ranks, [&](Member& member) {
    Epochs& own = *member.epochs[static_cast<std::size_t>(member.scope.rank())];
    const SystemCalls calls;
    for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
      if (member.scope.rank() == 0) wait_until_asleep(threads);
      write(own, bucket, 1.0F);
      own.publish(bucket);
    }
    own.close({});
    threads[static_cast<std::size_t>(member.scope.rank())] = ::gettid();
    const auto outcome = own.wait(soon());
    ASSERT_TRUE(outcome.has_value());
    EXPECT_EQ(outcome->state, EpochState::complete);
    futex_calls += calls.count(SYS_futex);
  });
  EXPECT_GT(futex_calls, static_cast<int>(kBuckets)) << "nobody slept";
  EXPECT_LE(futex_calls, 2 * static_cast<int>(kBuckets) * ranks);
}

TEST(EpochsCosts, NoMessage) {
  with_epochs(3, [](Member& member) {
    Epochs& own = *member.epochs[static_cast<std::size_t>(member.scope.rank())];
    const int before = member.messages.calls();
    EXPECT_GT(before, 0);
    for (int epoch = 0; epoch < kEpochs; ++epoch) {
      for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
        write(own, bucket, 1.0F);
        own.publish(bucket);
      }
      own.close({});
      ASSERT_TRUE(own.wait(soon()).has_value());
    }
    // Each of the others who is through may have begun a round, in which all meet.
    EXPECT_LE(member.messages.calls() - before, 2);
  });
}

}  // namespace
}  // namespace hvd
