#include "tests/harness/run_ranks.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace hvd {
namespace {

// A port that blocks until somebody aborts it.
class Blocker {
 public:
  Status wait() {
    std::unique_lock lock(mutex_);
    aborted_.wait(lock, [&] { return !why_.is_ok(); });
    return why_;
  }
  void abort(const Status& why) {
    const std::lock_guard lock(mutex_);
    ++aborts_;
    why_ = why;
    aborted_.notify_all();
  }
  int aborts() {
    const std::lock_guard lock(mutex_);
    return aborts_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable aborted_;
  Status why_;
  int aborts_ = 0;
};

struct Failure {
  bool fatal;
  std::string message;
};

// Runs the ranks with their failures caught instead of reported.
std::vector<Failure> failures_of(int n, const std::function<void(RankScope&)>& body) {
  testing::TestPartResultArray results;
  {
    const testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ALL_THREADS, &results);
    run_ranks(n, body);
  }
  std::vector<Failure> out;
  for (int i = 0; i < results.size(); ++i) {
    out.push_back({results.GetTestPartResult(i).fatally_failed(), results.GetTestPartResult(i).message()});
  }
  return out;
}

bool mentions(const std::vector<Failure>& failures, const std::string& text) {
  return std::any_of(failures.begin(), failures.end(),
                     [&](const Failure& failure) { return failure.message.find(text) != std::string::npos; });
}

TEST(RunRanks, RunsEveryRankOnce) {
  for (const int n : {1, 2, 3, 8}) {
    std::mutex mutex;
    std::multiset<int> seen;
    run_ranks(n, [&](RankScope& scope) {
      const std::lock_guard lock(mutex);
      EXPECT_EQ(scope.size(), n);
      seen.insert(scope.rank());
    });
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(n));
    EXPECT_EQ(std::set<int>(seen.begin(), seen.end()).size(), static_cast<std::size_t>(n));
  }
}

TEST(RunRanks, NoFailureAbortsNothing) {
  std::vector<Blocker> blockers(3);
  run_ranks(3, [&](RankScope& scope) { scope.guard(blockers[scope.rank()]); });
  for (auto& blocker : blockers) EXPECT_EQ(blocker.aborts(), 0);
}

TEST(RunRanks, AFatalAssertionReleasesTheOthersAndNamesItsRank) {
  std::vector<Blocker> blockers(4);
  std::vector<Status> ends(4);
  const auto failures = failures_of(4, [&](RankScope& scope) {
    Blocker& blocker = blockers[scope.rank()];
    scope.guard(blocker);
    if (scope.rank() == 2) FAIL() << "on purpose";
    ends[scope.rank()] = blocker.wait();
  });
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_TRUE(failures[0].fatal);
  EXPECT_TRUE(mentions(failures, "on purpose"));
  EXPECT_TRUE(mentions(failures, "rank 2 of 4")) << failures[0].message;
  for (const int rank : {0, 1, 3}) {
    EXPECT_EQ(ends[rank].code(), StatusCode::aborted);
    EXPECT_NE(ends[rank].message().find("rank 2"), std::string::npos) << ends[rank].message();
  }
}

TEST(RunRanks, AFatalAssertionInAFunctionTheBodyCalledCounts) {
  std::vector<Blocker> blockers(2);
  const auto check = [] { ASSERT_EQ(1, 2) << "deep"; };
  const auto failures = failures_of(2, [&](RankScope& scope) {
    scope.guard(blockers[scope.rank()]);
    if (scope.rank() == 0) {
      check();
    } else {
      (void)blockers[1].wait();
    }
  });
  EXPECT_TRUE(mentions(failures, "deep"));
}

TEST(RunRanks, AnExceptionReleasesTheOthersAndNamesItsRank) {
  std::vector<Blocker> blockers(3);
  const auto failures = failures_of(3, [&](RankScope& scope) {
    scope.guard(blockers[scope.rank()]);
    if (scope.rank() == 1) throw std::runtime_error("it burns");
    (void)blockers[scope.rank()].wait();
  });
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_TRUE(mentions(failures, "rank 1: the body threw: it burns")) << failures[0].message;
}

TEST(RunRanks, AnExpectationFailsTheCaseButAbortsNobody) {
  std::vector<Blocker> blockers(2);
  std::atomic<int> finished = 0;
  const auto failures = failures_of(2, [&](RankScope& scope) {
    scope.guard(blockers[scope.rank()]);
    EXPECT_NE(scope.rank(), 1);
    ++finished;
  });
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_FALSE(failures[0].fatal);
  EXPECT_TRUE(mentions(failures, "rank 1 of 2"));
  EXPECT_EQ(finished, 2);
  for (auto& blocker : blockers) EXPECT_EQ(blocker.aborts(), 0);
}

TEST(RunRanks, EveryFailureIsReported) {
  std::vector<Blocker> blockers(3);
  const auto failures = failures_of(3, [&](RankScope& scope) {
    scope.guard(blockers[scope.rank()]);
    if (scope.rank() == 0) throw 7;
    const Status end = blockers[scope.rank()].wait();
    ASSERT_TRUE(end.is_ok()) << end.message();
  });
  EXPECT_EQ(failures.size(), 3u);
  EXPECT_TRUE(mentions(failures, "rank 0: the body threw something that is no std::exception"));
  EXPECT_TRUE(mentions(failures, "rank 1 of 3"));
  EXPECT_TRUE(mentions(failures, "rank 2 of 3"));
}

TEST(RunRanks, APortGuardedAfterTheFailureIsAbortedAtOnce) {
  Blocker early;
  Blocker late;
  const auto failures = failures_of(2, [&](RankScope& scope) {
    if (scope.rank() == 0) throw std::runtime_error("early");
    scope.guard(early);
    (void)early.wait();
    scope.guard(late);
    (void)late.wait();
  });
  EXPECT_EQ(failures.size(), 1u);
  EXPECT_EQ(late.aborts(), 1);
}

TEST(RunRanks, ALocalPortIsLeftAloneOnceItsGuardIsGone) {
  Blocker gone;
  Blocker kept;
  (void)failures_of(2, [&](RankScope& scope) {
    if (scope.rank() == 1) {
      scope.guard(kept);
      {
        const PortGuard guarded = scope.guard_local(gone);
      }
      throw std::runtime_error("after the guard");
    }
  });
  EXPECT_EQ(gone.aborts(), 0);
  EXPECT_EQ(kept.aborts(), 1);
}

}  // namespace
}  // namespace hvd
