// Epochs with ranks as threads, through a Session, under ThreadSanitizer too.
#include "horovod_cpp/coordinator/epochs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <thread>

#include "tests/harness/inproc_world.h"
#include "tests/harness/run_ranks.h"
#include "tests/harness/seed.h"
#include "tests/ranks/session_calls.h"

namespace hvd {
namespace {

// Buckets of these many float32, one flag each.
EpochPlan plan_of(const std::vector<std::size_t>& counts, double scale = 1.0) {
  EpochPlan plan;
  for (const std::size_t count : counts) {
    plan.buckets.push_back({plan.payload_bytes, count, DataType::float32, plan.flags++, 1});
    plan.payload_bytes += (count * sizeof(float) + 63) / 64 * 64;
  }
  plan.scale = scale;
  plan.wants_squares = true;
  return plan;
}

std::shared_ptr<Epochs> open(Session& session, const EpochPlan& plan) {
  std::shared_ptr<Epochs> epochs;
  const Work work = session.open_epochs("plan", plan, 0, [&](auto opened) { epochs = std::move(opened); });
  const Status status = work.wait(soon());
  EXPECT_TRUE(status.is_ok()) << status.message();
  return epochs;
}

float* values_of(Epochs& epochs, std::size_t bucket) {
  return reinterpret_cast<float*>(epochs.payload() + epochs.plan().buckets[bucket].begin_bytes);
}

void fill(Epochs& epochs, std::size_t bucket, float value, bool is_used) {
  std::fill_n(values_of(epochs, bucket), epochs.plan().buckets[bucket].count, value);
  epochs.own_flags()[bucket] = std::byte{static_cast<unsigned char>(is_used)};
}

EpochOutcome outcome_of(Epochs& epochs, const CloseWord& word) {
  epochs.close(word);
  const auto outcome = epochs.wait(soon());
  EXPECT_TRUE(outcome.has_value());
  return outcome.value_or(EpochOutcome{});
}

// A world of `size` ranks, each with the same plan. The Session is shut down at the end.
void with_epochs(int size, const EpochPlan& plan,
                 const std::function<void(RankScope&, Session&, Epochs&)>& body) {
  InprocWorld world(size);
  run_ranks(size, [&](RankScope& scope) {
    const auto session = world.open(scope);
    const auto epochs = open(*session, plan);
    ASSERT_NE(epochs, nullptr);
    body(scope, *session, *epochs);
    EXPECT_TRUE(session->shutdown(soon()).is_ok());
  });
}

TEST(Epochs, AddWhatAllRanksPublished) {
  const std::vector<std::size_t> counts{1, 0, 100'000, 31};
  for (const int size : {1, 2, 3, 5, 7}) {
    with_epochs(size, plan_of(counts, 0.5), [size](RankScope& scope, Session&, Epochs& epochs) {
      for (int round = 0; round < 4; ++round) {
        for (std::size_t b = 0; b < 4; ++b)
          fill(epochs, b, static_cast<float>(scope.rank() + round), b != 3 && scope.rank() == 0);
        for (std::size_t b = 0; b < 4; ++b) epochs.publish(b);
        ASSERT_EQ(outcome_of(epochs, {}).state, EpochState::complete);
        const float expected =
            0.5F * (static_cast<float>(size * (size - 1)) / 2.0F + static_cast<float>(size * round));
        for (std::size_t b = 0; b < 4; ++b) {
          for (std::size_t i = 0; i < epochs.plan().buckets[b].count; ++i) {
            ASSERT_EQ(values_of(epochs, b)[i], expected) << "bucket " << b << ", element " << i;
          }
          EXPECT_EQ(epochs.is_used(b), b != 3);
        }
        EXPECT_DOUBLE_EQ(epochs.sum_of_squares(), double{expected} * double{expected} * 100'032);
      }
    });
  }
}

TEST(Epochs, AnyOrderWithHelpersAndPauses) {
  constexpr int kRanks = 3;
  for_each_seed(5, 200, [&](std::uint64_t seed) {
    with_epochs(
        kRanks, plan_of({40'000, 7, 90'000, 1, 33'000}), [seed](RankScope& scope, Session&, Epochs& epochs) {
          std::mt19937_64 random(seed * 31 + static_cast<std::uint64_t>(scope.rank()));
          std::atomic<bool> is_over{false};
          std::thread helper([&] {
            while (!is_over) {
              epochs.help();
              std::this_thread::yield();
            }
          });
          std::vector<std::size_t> order{0, 1, 2, 3, 4};
          for (int round = 1; round <= 20; ++round) {
            std::shuffle(order.begin(), order.end(), random);
            const auto first = static_cast<std::ptrdiff_t>(random() % 6);  // the rest is published by close()
            for (auto b = order.begin(); b != order.end(); ++b) {
              fill(epochs, *b, static_cast<float>(round * (scope.rank() + 1)), true);
              if (b - order.begin() < first) epochs.publish(*b);
              if (random() % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
            }
            EXPECT_EQ(outcome_of(epochs, {}).state, EpochState::complete);
            for (std::size_t b = 0; b < 5; ++b) {
              const float* const values = values_of(epochs, b);
              const auto wrong = std::find_if(values, values + epochs.plan().buckets[b].count,
                                              [&](float v) { return v != static_cast<float>(round * 6); });
              EXPECT_EQ(wrong, values + epochs.plan().buckets[b].count)
                  << "round " << round << ", bucket " << b;
            }
          }
          is_over = true;
          helper.join();
        });
  });
}

TEST(Epochs, AVoidDropsTheEpochOfAllAndTheNextOneWorks) {
  with_epochs(3, plan_of({100, 100}), [](RankScope& scope, Session&, Epochs& epochs) {
    fill(epochs, 0, 1.0F, true);
    epochs.publish(0);
    EXPECT_EQ(outcome_of(epochs, {.is_void = scope.rank() == 1}).state, EpochState::dropped);
    EXPECT_EQ(epochs.void_ranks(), 1);
    fill(epochs, 0, 2.0F, true);
    fill(epochs, 1, 0.0F, false);
    EXPECT_EQ(outcome_of(epochs, {}).state, EpochState::complete);
    EXPECT_EQ(values_of(epochs, 0)[99], 6.0F);
    EXPECT_FALSE(epochs.is_used(1));
  });
}

TEST(Epochs, ALeaveEndsThePlanNotTheEpochs) {
  with_epochs(2, plan_of({100}), [](RankScope& scope, Session&, Epochs& epochs) {
    fill(epochs, 0, 1.0F, true);
    EXPECT_TRUE(outcome_of(epochs, {.leaves = scope.rank() == 0}).leaves);
    EXPECT_FALSE(epochs.has_plan());
    EXPECT_EQ(outcome_of(epochs, {}).state, EpochState::complete);
    EXPECT_EQ(outcome_of(epochs, {.is_void = scope.rank() == 0}).state, EpochState::dropped);
  });
}

TEST(Epochs, DifferentCountsFailOnAllAndSayWho) {
  with_epochs(3, plan_of({10}), [](RankScope& scope, Session& session, Epochs& epochs) {
    const auto count = static_cast<std::uint8_t>(scope.rank() == 2 ? 1 : 0);
    const EpochOutcome outcome = outcome_of(epochs, {.count = count});
    EXPECT_EQ(outcome.state, EpochState::failed);
    EXPECT_EQ(epochs.failure().code(), StatusCode::mismatch);
    EXPECT_NE(epochs.failure().message().find("rank 1 at number 1, rank 2 at number 2"), std::string::npos)
        << epochs.failure().message();
    EXPECT_TRUE(session.status().is_ok());
  });
}

TEST(Epochs, ARankThatIsGoneHoldsNobodyUp) {
  with_epochs(2, plan_of({10}), [](RankScope& scope, Session& session, Epochs& epochs) {
    if (scope.rank() == 0) {
      fill(epochs, 0, 0.0F, false);
      epochs.close({.is_gone = true, .count = 9});
    } else {
      fill(epochs, 0, 4.0F, true);
      EXPECT_EQ(outcome_of(epochs, {}), (EpochOutcome{.state = EpochState::complete, .is_gone = true}));
      EXPECT_EQ(values_of(epochs, 0)[9], 4.0F);
    }
    EXPECT_TRUE(session.barrier().wait(soon()).is_ok());
  });
}

TEST(Epochs, ARankThatShutsDownIsNamedByThoseWhoWait) {
  InprocWorld world(3);
  run_ranks(3, [&](RankScope& scope) {
    const auto session = world.open(scope);
    const auto epochs = open(*session, plan_of({10}));
    ASSERT_NE(epochs, nullptr);
    if (scope.rank() != 1) {
      EXPECT_EQ(outcome_of(*epochs, {}).state, EpochState::failed);
      EXPECT_EQ(epochs->failure().code(), StatusCode::shut_down);
      EXPECT_NE(epochs->failure().message().find("rank 1 has shut down"), std::string::npos)
          << epochs->failure().message();
    }
    EXPECT_TRUE(session->shutdown(soon()).is_ok());
  });
}

TEST(Epochs, WhatARankClosedBeforeItLeftCounts) {
  with_epochs(2, plan_of({10}), [](RankScope& scope, Session& session, Epochs& epochs) {
    fill(epochs, 0, 1.0F, true);
    if (scope.rank() == 0) {
      epochs.close({});
      epochs.leave(Status::shut_down("rank 0 has had enough"));
    }
    EXPECT_TRUE(session.barrier().wait(soon()).is_ok());
    if (scope.rank() == 0) return;
    // Closed by all, but not reduced yet when this rank first looks.
    EXPECT_EQ(outcome_of(epochs, {}).state, EpochState::complete);
    EXPECT_EQ(values_of(epochs, 0)[9], 2.0F);
    EXPECT_EQ(outcome_of(epochs, {}).state, EpochState::failed);
    EXPECT_NE(epochs.failure().message().find("had enough"), std::string::npos);
  });
}

TEST(Epochs, AnAbortEndsTheWaitOfAllWithItsReason) {
  InprocWorld world(3);
  run_ranks(3, [&](RankScope& scope) {
    const auto session = world.open(scope);
    const auto epochs = open(*session, plan_of({10}));
    ASSERT_NE(epochs, nullptr);
    if (scope.rank() == 0) {
      EXPECT_FALSE(epochs->wait(Deadline::after(std::chrono::milliseconds(5))).has_value());
      session->abort(Status::aborted("rank 0 was pulled out"));
    }
    // Were rank 0 to close, the others could have decided before it looks.
    const auto outcome = scope.rank() == 0 ? epochs->wait(soon()) : outcome_of(*epochs, {});
    ASSERT_TRUE(outcome.has_value());
    EXPECT_EQ(outcome->state, EpochState::failed);
    EXPECT_NE(epochs->failure().message().find("rank 0 was pulled out"), std::string::npos)
        << epochs->failure().message();
  });
}

TEST(Epochs, SayWhatTheyWaitFor) {
  with_epochs(2, plan_of({10, 10}), [](RankScope& scope, Session& session, Epochs& epochs) {
    if (scope.rank() == 1) epochs.publish(1);
    EXPECT_TRUE(session.barrier().wait(soon()).is_ok());
    const auto awaited = epochs.awaited();
    ASSERT_EQ(awaited.size(), 2U);
    EXPECT_EQ(awaited[1].rank, 1);
    EXPECT_EQ(awaited[1].unpublished, std::vector<std::size_t>{0});
    EXPECT_TRUE(session.barrier().wait(soon()).is_ok());
    EXPECT_EQ(outcome_of(epochs, {}).state, EpochState::complete);
  });
}

TEST(Epochs, DifferentPlansAreAMismatchOnAll) {
  InprocWorld world(2);
  run_ranks(2, [&](RankScope& scope) {
    const auto session = world.open(scope);
    const auto plan = plan_of({std::size_t{10} + static_cast<std::size_t>(scope.rank())});
    const Work work = session->open_epochs("plan", plan, 0, [](const auto&) { FAIL() << "opened"; });
    EXPECT_EQ(work.wait(soon()).code(), StatusCode::mismatch);
    EXPECT_TRUE(session->shutdown(soon()).is_ok());
  });
}

TEST(Epochs, NeedMemoryThatRanksShare) {
  InprocWorld world(2, InprocWorld::Backend::ring);
  run_ranks(2, [&](RankScope& scope) {
    const auto session = world.open(scope);
    const Work work = session->open_epochs("plan", plan_of({10}), 0, [](const auto&) { FAIL() << "opened"; });
    EXPECT_EQ(work.wait(soon()).code(), StatusCode::unimplemented);
    EXPECT_TRUE(session->shutdown(soon()).is_ok());
  });
}

}  // namespace
}  // namespace hvd
