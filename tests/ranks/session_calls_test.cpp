// Session::call: rounds on the thread of who waits for them (coordinator/turns.h), among submissions, other callers, and ends.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "horovod_cpp/base/text.h"
#include "tests/harness/inproc_world.h"
#include "tests/harness/run_ranks.h"
#include "tests/harness/seed.h"
#include "tests/ranks/session_calls.h"

namespace hvd {
namespace {

using Backend = InprocWorld::Backend;

class Calls : public testing::TestWithParam<Backend> {};
INSTANTIATE_TEST_SUITE_P(Backends, Calls, testing::Values(Backend::shm, Backend::ring),
                         [](const auto& info) { return info.param == Backend::shm ? "shm" : "ring"; });

Submission submission_of(Session& session, const std::string& name, std::vector<float>& data) {
  Declaration declaration = float_tensor(OpKind::allreduce, name, {static_cast<std::int64_t>(data.size())});
  declaration.op = ReduceOp::sum;
  Submission submission;
  submission.id = session.declare(declaration).value();
  submission.input = data.data();
  submission.output = data.data();
  return submission;
}

// Of all ranks, each with 1, 2, … in every element.
float sum_over(int size) { return static_cast<float>(size * (size + 1)) / 2.0F; }

TEST_P(Calls, SumOverAnyNumberOfRanks) {
  for (const int size : {1, 2, 3, 5, 7}) {
    InprocWorld world(size, GetParam());
    run_ranks(size, [&](RankScope& scope) {
      const auto session = world.open(scope);
      for (int i = 0; i < 50; ++i) {
        std::vector<float> data(static_cast<std::size_t>(1 + 37 * i), static_cast<float>(scope.rank() + 1));
        ASSERT_TRUE(session->call(submission_of(*session, text("data ", i % 3), data)).done());
        ASSERT_EQ(data, std::vector<float>(data.size(), sum_over(size)));
      }
      EXPECT_TRUE(session->shutdown(soon()).is_ok());
    });
  }
}

TEST_P(Calls, AStreakRunsOnItsCallersThread) {
  InprocWorld world(2, GetParam());
  run_ranks(2, [&](RankScope& scope) {
    const auto session = world.open(scope);
    int own = 0;
    for (int i = 0; i < 1000; ++i) {
      std::vector<float> data(4, 1.0F);
      Submission submission = submission_of(*session, "data", data);
      submission.on_announced = [&own, caller = std::this_thread::get_id()] {
        own += std::this_thread::get_id() == caller ? 1 : 0;
      };
      ASSERT_TRUE(session->call(std::move(submission)).wait(soon()).is_ok());
    }
    EXPECT_GT(own, 0);
    EXPECT_TRUE(session->shutdown(soon()).is_ok());
  });
}

// What is submitted while another thread's call does the rounds, and is ready only later, is not forgotten when that call returns.
TEST_P(Calls, AmongSubmissionsOfOtherThreads) {
  constexpr int kRanks = 3, kThreads = 3, kEach = 60;
  with_a_seed([&](std::uint64_t seed) {
    InprocWorld world(kRanks, GetParam());
    run_ranks(kRanks, [&](RankScope& scope) {
      const auto session = world.open(scope);
      std::atomic<int> wrong{0};
      std::vector<std::thread> threads;
      for (int thread = 0; thread < kThreads; ++thread) {
        threads.emplace_back([&, thread] {
          std::mt19937_64 random(seed + static_cast<std::uint64_t>(100 * scope.rank() + thread));
          for (int i = 0; i < kEach; ++i) {
            std::vector<float> data(8, static_cast<float>(scope.rank() + 1));
            Submission submission = submission_of(*session, text("thread ", thread, ", ", i), data);
            if (random() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
            const Work work = random() % 2 == 0 ? session->call(std::move(submission))
                                                : session->submit(std::move(submission));
            wrong += !work.wait(soon()).is_ok() || data[7] != sum_over(kRanks) ? 1 : 0;
          }
        });
      }
      for (auto& thread : threads) thread.join();
      EXPECT_EQ(wrong, 0);
      EXPECT_TRUE(session->shutdown(soon()).is_ok());
    });
  });
}

// Others need this rank's thread for their rounds, which it has just lent.
TEST_P(Calls, OthersGoOnWithoutTheCaller) {
  InprocWorld world(3, GetParam());
  run_ranks(3, [&](RankScope& scope) {
    const auto session = world.open(scope);
    const Work added = session->add_process_set({0, 1});
    ASSERT_TRUE(added.wait(soon()).is_ok());
    for (int round = 0; round < 20; ++round) {
      std::vector<float> data(4, static_cast<float>(scope.rank() + 1));
      ASSERT_TRUE(session->call(submission_of(*session, "all", data)).wait(soon()).is_ok());
      if (scope.rank() == 2) continue;
      Declaration of_two =
          float_tensor(OpKind::allreduce, "two", {4}, static_cast<int>(added.result().front()));
      of_two.op = ReduceOp::sum;
      Submission submission;
      submission.id = session->declare(of_two).value();
      submission.input = submission.output = data.data();
      ASSERT_TRUE(session->call(std::move(submission)).wait(soon()).is_ok());
    }
    EXPECT_TRUE(session->shutdown(soon()).is_ok());
  });
}

TEST_P(Calls, EndWithTheSession) {
  InprocWorld world(2, GetParam());
  run_ranks(2, [&](RankScope& scope) {
    const auto session = world.open(scope);
    std::vector<float> data(4, 1.0F);
    for (int i = 0; i < 10; ++i)
      ASSERT_TRUE(session->call(submission_of(*session, "data", data)).wait(soon()).is_ok());
    if (scope.rank() == 0) {
      session->abort(Status::aborted("enough of it"));
    } else {
      const Status status = session->call(submission_of(*session, "data", data)).wait(soon());
      EXPECT_NE(status.message().find("enough of it"), std::string::npos) << status.message();
    }
    EXPECT_FALSE(session->call(submission_of(*session, "data", data)).wait(soon()).is_ok());
  });
}

TEST_P(Calls, EndWhenAnotherRankLeaves) {
  InprocWorld world(3, GetParam());
  run_ranks(3, [&](RankScope& scope) {
    const auto session = world.open(scope);
    std::vector<float> data(4, 1.0F);
    for (int i = 0; i < 10; ++i)
      ASSERT_TRUE(session->call(submission_of(*session, "data", data)).wait(soon()).is_ok());
    if (scope.rank() != 1) {
      const Status status = session->call(submission_of(*session, "data", data)).wait(soon());
      EXPECT_EQ(status.code(), StatusCode::shut_down);
      // The other one of the two may have left, too, by then.
      EXPECT_NE(status.message().find("shut down without submitting it"), std::string::npos)
          << status.message();
    }
    EXPECT_TRUE(session->shutdown(soon()).is_ok());
  });
}

TEST(Call, RefusesWhatSubmitRefuses) {
  InprocWorld world(1);
  run_ranks(1, [&](RankScope& scope) {
    const auto session = world.open(scope);
    EXPECT_EQ(session->call(Submission{}).wait().code(), StatusCode::invalid_argument);
    EXPECT_TRUE(session->shutdown(soon()).is_ok());
  });
}

}  // namespace
}  // namespace hvd
