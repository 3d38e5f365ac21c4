// Session's operations beyond allreduce and broadcast, process sets, join and groups, with ranks as threads.
#include <gtest/gtest.h>

#include "horovod_cpp/base/text.h"
#include "tests/harness/inproc_world.h"
#include "tests/harness/run_ranks.h"
#include "tests/harness/seed.h"
#include "tests/ranks/every_operation.h"
#include "tests/ranks/session_calls.h"

namespace hvd {
namespace {

using Backend = InprocWorld::Backend;

class SessionOperations : public testing::TestWithParam<Backend> {
 protected:
  // body(session) on n ranks, then shutdown.
  void on_ranks(int n, const std::function<void(Session&)>& body) {
    InprocWorld world(n, GetParam());
    run_ranks(n, [&](RankScope& scope) {
      const auto session = world.open(scope);
      body(*session);
      EXPECT_TRUE(session->shutdown(soon()).is_ok());
    });
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, SessionOperations, testing::Values(Backend::shm, Backend::ring),
                         [](const auto& info) { return info.param == Backend::shm ? "shm" : "ring"; });

TEST_P(SessionOperations, EverythingAmongAllRanks) {
  for (const int n : {1, 2, 3, 4, 7}) {
    on_ranks(n, [](Session& session) {
      for (int variant = 0; variant < 4; ++variant)
        EXPECT_EQ(do_every_step(session, all_ranks(session), "x", variant), "");
    });
  }
}

TEST_P(SessionOperations, EverythingInOverlappingSets) {
  on_ranks(4, [](Session& session) { EXPECT_EQ(use_overlapping_sets(session, 5), ""); });
}

TEST_P(SessionOperations, ARankWithoutDataJoins) {
  for (const int n : {1, 2, 3, 5}) {
    on_ranks(n, [](Session& session) { EXPECT_EQ(join_when_out_of_data(session), ""); });
  }
}

TEST_P(SessionOperations, StepsMixedWithAdHocOperations) {
  for_each_seed(1, 2, [&](std::uint64_t seed) {
    on_ranks(4, [seed](Session& session) { EXPECT_EQ(interleave(session, seed, test_rounds(5, 1000)), ""); });
  });
}

TEST_P(SessionOperations, AStrangerIsToldAtTheCall) {
  on_ranks(2, [](Session& session) {
    const Membership set = add_set(session, {1});
    float value = 1.0F;
    const Status status =
        submit(session, float_tensor(OpKind::allreduce, "x", {1}, set.id), &value).wait(soon());
    if (session.rank() == 0) {
      EXPECT_EQ(status.code(), StatusCode::invalid_argument);
      EXPECT_NE(status.message().find("not a member"), std::string::npos) << status.message();
    } else {
      EXPECT_TRUE(status.is_ok()) << status.message();
    }
    EXPECT_EQ(session.add_process_set({0, 2}).wait(soon()).code(), StatusCode::invalid_argument);
    EXPECT_EQ(session.remove_process_set(17).wait(soon()).code(), StatusCode::invalid_argument);
    EXPECT_EQ(session.remove_process_set(0).wait(soon()).code(), StatusCode::invalid_argument);
  });
}

TEST_P(SessionOperations, WhatJoinCannotServeIsAnErrorAndNothingElse) {
  on_ranks(2, [](Session& session) {
    if (session.rank() == 1) {
      float value = 1.0F;
      Declaration max = float_tensor(OpKind::allreduce, "max", {});
      max.op = ReduceOp::max;
      const Status status = submit(session, max, &value).wait(soon());
      EXPECT_EQ(status.code(), StatusCode::mismatch);
      EXPECT_NE(status.message().find("rank 0 has joined"), std::string::npos) << status.message();
    }
    EXPECT_TRUE(session.join().wait(soon()).is_ok());
  });
}

std::vector<Work> submit_group(Session& session, int size, int shape_of_last, std::vector<float>& data) {
  std::vector<Submission> submissions;
  for (int i = 0; i < size; ++i) {
    Declaration declaration =
        float_tensor(OpKind::allreduce, text("g", i), {i == size - 1 ? shape_of_last : 1});
    declaration.group = "g";
    declaration.group_size = size;
    Submission submission;
    submission.id = session.declare(declaration).value();
    submission.input = submission.output = &data[static_cast<std::size_t>(i)];
    submissions.push_back(std::move(submission));
  }
  return session.submit(std::move(submissions));
}

TEST_P(SessionOperations, AGroupIsDoneAsOneOrNotAtAll) {
  on_ranks(3, [](Session& session) {
    std::vector<float> data(8, static_cast<float>(session.rank()));
    for (const Work& work : submit_group(session, 5, 1, data)) EXPECT_TRUE(work.wait(soon()).is_ok());
    for (int i = 0; i < 5; ++i) EXPECT_FLOAT_EQ(data[static_cast<std::size_t>(i)], 1.0F);
    for (const Work& work : submit_group(session, 5, session.rank() == 1 ? 3 : 2, data)) {
      EXPECT_EQ(work.wait(soon()).code(), StatusCode::mismatch);
    }
    for (int i = 0; i < 5; ++i) EXPECT_FLOAT_EQ(data[static_cast<std::size_t>(i)], 1.0F) << "it was reduced";
  });
}

TEST_P(SessionOperations, HalfAGroupIsRefused) {
  on_ranks(2, [](Session& session) {
    Declaration declaration = float_tensor(OpKind::allreduce, "x", {});
    declaration.group = "g";
    declaration.group_size = 2;
    float value = 1.0F;
    const Status status = submit(session, declaration, &value).wait(soon());
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    EXPECT_NE(status.message().find("1 of the 2 operations"), std::string::npos) << status.message();
  });
}

TEST_P(SessionOperations, NoMemoryForTheResultEndsThisRanksWorkOnly) {
  on_ranks(2, [](Session& session) {
    const std::vector<float> input{1.0F};
    std::vector<float> result;
    const Declaration declaration = float_tensor(OpKind::allgather, "x", {});
    if (session.rank() == 0) {
      Submission submission;
      submission.id = session.declare(declaration).value();
      submission.input = input.data();
      submission.extents = {1};
      submission.allocate = [](std::span<const std::int64_t>) -> void* { throw std::bad_alloc(); };
      const Status status = session.submit(std::move(submission)).wait(soon());
      EXPECT_EQ(status.code(), StatusCode::internal);
      EXPECT_NE(status.message().find("8 bytes"), std::string::npos) << status.message();
    } else {
      EXPECT_TRUE(submit_rows(session, declaration, input, {1}, result).wait(soon()).is_ok());
      EXPECT_EQ(result, (std::vector<float>{1.0F, 1.0F}));
    }
  });
}

}  // namespace
}  // namespace hvd
