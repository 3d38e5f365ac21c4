// Random interleavings of training steps and ad-hoc operations (interleavings.h), with ranks as threads and as processes.
#include <gtest/gtest.h>

#include <cstdio>

#include "horovod_cpp/session.h"
#include "tests/harness/run_processes.h"
#include "tests/harness/seed.h"
#include "tests/torch/interleavings.h"
#include "tests/torch/interleavings_plan.h"
#include "tests/torch/on_ranks.h"

namespace hvd {
namespace {

// Ranks that wait for each other for ever are told so after this long, and the seed is printed.
constexpr std::chrono::seconds kStall{90};
int rounds() { return test_rounds(5, 1000); }

class Threads : public testing::TestWithParam<InprocWorld::Backend> {};
INSTANTIATE_TEST_SUITE_P(Interleavings, Threads,
                         testing::Values(InprocWorld::Backend::shm, InprocWorld::Backend::ring),
                         [](const auto& info) {
                           return info.param == InprocWorld::Backend::shm ? "shm" : "ring";
                         });

TEST_P(Threads, TrainAndCommunicateInAnyOrder) {
  with_a_seed([](std::uint64_t seed) {
    InprocWorld world(kRanks, GetParam());
    run_ranks(kRanks, [&](RankScope& scope) {
      Config config;
      config.stall_shutdown = kStall;
      const auto context =
          std::make_shared<Context>(value_or_throw(Session::create(world.parts(scope.rank(), config))));
      Session& session = context->session();
      const PortGuard guard = scope.guard_local(session);
      const std::string done = run_interleavings(context, seed, rounds());
      if (scope.rank() == 0) std::printf("%s\n", done.c_str());
      const Status status = session.shutdown(Deadline::after(kTestDeadline));
      EXPECT_TRUE(status.is_ok()) << status.message();
    });
  });
}

HVD_PROCESS_CASE(interleavings) {
  try {
    init();
    const std::string done = run_interleavings(context(), std::stoull(process_arguments().at(0)), rounds());
    if (rank() == 0) std::printf("%s; %s\n", done.c_str(), session().backends().c_str());
    shutdown();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "case failed on rank %d: %s\n", process_rank(), error.what());
    return 1;
  }
}

struct World {
  const char* name;
  std::vector<std::pair<std::string, std::string>> environment;
  const char* backends;
};

class Processes : public testing::TestWithParam<World> {};
INSTANTIATE_TEST_SUITE_P(Interleavings, Processes,
                         testing::Values(World{"shm", {}, "control shm, cpu shm"},
                                         World{"tcp",
                                               {{"HVD_CONTROL", "tcp"}, {"HVD_CPU_OPERATIONS", "ring"}},
                                               "control tcp, cpu ring"}),
                         [](const auto& info) { return info.param.name; });

TEST_P(Processes, TrainAndCommunicateInAnyOrder) {
  with_a_seed([](std::uint64_t seed) {
    ProcessOptions options;
    options.case_arguments = {std::to_string(seed)};
    options.environment = GetParam().environment;
    options.environment.emplace_back("HVD_STALL_SHUTDOWN_TIME_SECONDS", std::to_string(kStall.count()));
    options.time_limit = std::chrono::minutes(8);
    const ProcessResult result = run_processes(kRanks, "interleavings", options);
    EXPECT_TRUE(result.is_clean()) << result.describe();
    EXPECT_NE(result.out.find(GetParam().backends), std::string::npos) << result.describe();
    std::printf("%s", result.out.c_str());
  });
}

}  // namespace
}  // namespace hvd
