// Session with ranks as threads: the coordinator over inproc, under ThreadSanitizer too.
#include "horovod_cpp/session.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <barrier>
#include <numeric>
#include <thread>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/secure/secure_socket.h"
#include "tests/harness/inproc_world.h"
#include "tests/harness/run_ranks.h"
#include "tests/harness/seed.h"
#include "tests/ranks/any_order.h"
#include "tests/ranks/session_calls.h"

namespace hvd {
namespace {

using Backend = InprocWorld::Backend;

Declaration average(const std::string& name, std::size_t count) {
  return float_tensor(OpKind::allreduce, name, {static_cast<std::int64_t>(count)});
}

class SessionOver : public testing::TestWithParam<Backend> {};
INSTANTIATE_TEST_SUITE_P(Backends, SessionOver, testing::Values(Backend::shm, Backend::ring),
                         [](const auto& info) { return info.param == Backend::shm ? "shm" : "ring"; });

TEST_P(SessionOver, AveragesOverAnyNumberOfRanks) {
  for (const int size : {1, 2, 3, 5, 7}) {
    InprocWorld world(size, GetParam());
    run_ranks(size, [&](RankScope& scope) {
      const auto session = world.open(scope);
      std::vector<float> data(1001);
      std::iota(data.begin(), data.end(), static_cast<float>(scope.rank()));
      ASSERT_TRUE(submit(*session, average("data", data.size()), data.data()).wait(soon()).is_ok());
      for (std::size_t i = 0; i < data.size(); ++i) {
        ASSERT_FLOAT_EQ(data[i], static_cast<float>(i) + static_cast<float>(size - 1) / 2.0F);
      }
      EXPECT_TRUE(session->shutdown(soon()).is_ok());
    });
  }
}

TEST_P(SessionOver, AnyOrderOfSubmission) {
  constexpr int kRanks = 4;
  for_each_seed(1, 5, [&](std::uint64_t seed) {
    InprocWorld world(kRanks, GetParam());
    run_ranks(kRanks, [&](RankScope& scope) {
      const auto session = world.open(scope);
      EXPECT_EQ(submit_in_any_order(*session, seed, 200, soon()), "");
      EXPECT_TRUE(session->shutdown(soon()).is_ok());
    });
  });
}

TEST_P(SessionOver, BroadcastFromEachRoot) {
  InprocWorld world(3, GetParam());
  run_ranks(3, [&](RankScope& scope) {
    const auto session = world.open(scope);
    for (int root = 0; root < 3; ++root) {
      std::vector<double> data(77, scope.rank());
      Declaration declaration = average(text("from ", root), data.size());
      declaration.kind = OpKind::broadcast;
      declaration.dtype = DataType::float64;
      declaration.root = root;
      ASSERT_TRUE(submit(*session, declaration, data.data()).wait(soon()).is_ok());
      EXPECT_EQ(data, std::vector<double>(77, root));
    }
    EXPECT_TRUE(session->shutdown(soon()).is_ok());
  });
}

TEST(Session, DisagreementEndsTheOperationOnEveryRankAndNothingElse) {
  InprocWorld world(2);
  run_ranks(2, [&](RankScope& scope) {
    const auto session = world.open(scope);
    std::vector<float> data(6, 1.0F);
    const Status wrong = submit(*session, average("w", scope.rank() == 0 ? 6 : 5), data.data()).wait(soon());
    EXPECT_EQ(wrong.code(), StatusCode::mismatch);
    EXPECT_NE(wrong.message().find("rank 0 has [6]; rank 1 has [5]"), std::string::npos) << wrong.message();
    EXPECT_TRUE(submit(*session, average("w", 6), data.data()).wait(soon()).is_ok());
    EXPECT_TRUE(session->shutdown(soon()).is_ok());
  });
}

TEST(Session, WhatNoBackendCanDoIsAnErrorOnEveryRank) {
  InprocWorld world(2);
  run_ranks(2, [&](RankScope& scope) {
    const auto session = world.open(scope);
    float value = 1.0F;
    Declaration on_gpu = average("gpu", 1);
    on_gpu.device = {DeviceType::cuda, scope.rank()};
    const Status status = submit(*session, on_gpu, &value).wait(soon());
    EXPECT_EQ(status.code(), StatusCode::unimplemented);
    EXPECT_NE(status.message().find("no backend for cuda:0"), std::string::npos) << status.message();
    EXPECT_TRUE(session->shutdown(soon()).is_ok());
  });
}

TEST(Session, MisuseIsToldAtTheCall) {
  InprocWorld world(2);
  run_ranks(2, [&](RankScope& scope) {
    const auto session = world.open(scope);
    float value = 1.0F;
    if (scope.rank() == 0) {
      EXPECT_EQ(session->submit(Submission{}).wait(soon()).code(), StatusCode::invalid_argument);
      const Work first = submit(*session, average("x", 1), &value);
      float other = 1.0F;
      const Status twice = submit(*session, average("x", 1), &other).wait(soon());
      EXPECT_EQ(twice.code(), StatusCode::invalid_argument);
      EXPECT_NE(twice.message().find("rank 0, allreduce 'x': submitted again"), std::string::npos)
          << twice.message();
      EXPECT_EQ(session->declare(average("x", 2)).status().code(), StatusCode::invalid_argument);
      EXPECT_EQ(first.wait(Deadline::after(std::chrono::milliseconds(1))).code(), StatusCode::timed_out);
      float go = 0.0F;
      EXPECT_TRUE(submit(*session, average("go", 1), &go).wait(soon()).is_ok());
      EXPECT_TRUE(first.wait(soon()).is_ok());
    } else {
      float go = 0.0F;
      EXPECT_TRUE(submit(*session, average("go", 1), &go).wait(soon()).is_ok());
      EXPECT_TRUE(submit(*session, average("x", 1), &value).wait(soon()).is_ok());
    }
    EXPECT_TRUE(session->shutdown(soon()).is_ok());
  });
}

TEST(Session, ARankThatShutsDownEndsTheOthersWaiting) {
  InprocWorld world(3);
  run_ranks(3, [&](RankScope& scope) {
    const auto session = world.open(scope);
    float value = 1.0F;
    if (scope.rank() != 1) {
      const Status status = submit(*session, average("x", 1), &value).wait(soon());
      EXPECT_EQ(status.code(), StatusCode::shut_down);
      // Whoever of ranks 0 and 2 is late may find both others gone.
      const std::string& why = status.message();
      const auto names = [&](const char* who) {
        return why.find(std::string(who) + " shut down without submitting it") != std::string::npos;
      };
      EXPECT_TRUE(names("rank 1") || names("ranks 0, 1") || names("ranks 1, 2")) << why;
    }
    EXPECT_TRUE(session->shutdown(soon()).is_ok());
    EXPECT_TRUE(session->shutdown(soon()).is_ok());
    EXPECT_EQ(submit(*session, average("late", 1), &value).wait(soon()).code(), StatusCode::shut_down);
  });
}

TEST(Session, ShutdownHonoursItsDeadline) {
  InprocWorld world(2);
  std::barrier<> meet(2);
  run_ranks(2, [&](RankScope& scope) {
    const auto session = world.open(scope);
    if (scope.rank() == 0) {
      EXPECT_EQ(session->shutdown(Deadline::after(std::chrono::milliseconds(20))).code(),
                StatusCode::timed_out);
    }
    meet.arrive_and_wait();
    EXPECT_TRUE(session->shutdown(soon()).is_ok());
  });
}

TEST(Session, AbortEndsEverythingPendingWithItsReason) {
  InprocWorld world(2);
  run_ranks(2, [&](RankScope& scope) {
    const auto session = world.open(scope);
    float value = 1.0F;
    const Work pending = submit(*session, average(text("only on ", scope.rank()), 1), &value);
    session->abort(Status::aborted("enough"));
    // Either rank may hear the other's reason first.
    const auto is_reason = [](const Status& status) {
      return status.message().find("enough") != std::string::npos;
    };
    EXPECT_TRUE(is_reason(pending.wait(soon())));
    EXPECT_TRUE(is_reason(submit(*session, average("later", 1), &value).wait(soon())));
    EXPECT_TRUE(is_reason(session->status()));
    EXPECT_TRUE(is_reason(session->shutdown(soon())));
  });
}

// Links as between processes: rank 1 goes without a goodbye.
TEST(Session, ALostLinkNamesTheRankOnTheOthers) {
  constexpr int kRanks = 3;
  InprocWorld world(kRanks);
  std::vector<std::vector<UniqueFd>> links(kRanks);
  for (auto& row : links) row.resize(kRanks);
  for (std::size_t a = 0; a < kRanks; ++a) {
    for (std::size_t b = a + 1; b < kRanks; ++b) {
      int pair[2];
      ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
      links[a][b].reset(pair[0]);
      links[b][a].reset(pair[1]);
    }
  }
  run_ranks(kRanks, [&](RankScope& scope) {
    SessionParts parts = world.parts(scope.rank());
    auto& mine = links[static_cast<std::size_t>(scope.rank())];
    if (scope.rank() == 1) {
      mine.clear();
      return;
    }
    parts.peer_links = std::make_shared<std::vector<SecureSocket>>(plain_sockets(std::move(mine)));
    auto session = Session::create(std::move(parts));
    ASSERT_TRUE(session.is_ok());
    float value = 1.0F;
    const Status status = submit(*session.value(), average("x", 1), &value).wait(soon());
    EXPECT_EQ(status.code(), StatusCode::aborted);
    EXPECT_NE(status.message().find("rank 1"), std::string::npos) << status.message();
  });
}

TEST(Session, IdleSessionsSleep) {
  InprocWorld world(2);
  std::barrier<> meet(2);
  run_ranks(2, [&](RankScope& scope) {
    const auto session = world.open(scope);
    float value = 1.0F;
    ASSERT_TRUE(submit(*session, average("x", 1), &value).wait(soon()).is_ok());
    meet.arrive_and_wait();
    if (scope.rank() == 0) {
      rusage before{};
      rusage after{};
      ASSERT_EQ(::getrusage(RUSAGE_SELF, &before), 0);
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      ASSERT_EQ(::getrusage(RUSAGE_SELF, &after), 0);
      // Two idle Sessions for half a second: a busy thread would use half a second, a poll of 1 ms about 500 switches.
      EXPECT_LT(after.ru_nvcsw - before.ru_nvcsw, 50);
    }
    meet.arrive_and_wait();
    EXPECT_TRUE(session->shutdown(soon()).is_ok());
  });
}

}  // namespace
}  // namespace hvd
