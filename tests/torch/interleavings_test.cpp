// Random interleavings of training steps and ad-hoc operations (interleavings.h), with ranks as threads and as processes.
#include <gtest/gtest.h>

#include <array>
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
// Of the worlds that the proof is about, and of the others.
int rounds() { return test_rounds(5, 1000); }
int fewer_rounds() { return test_rounds(5, 200); }

class Threads : public testing::TestWithParam<InprocWorld::Backend> {};
INSTANTIATE_TEST_SUITE_P(Interleavings, Threads,
                         testing::Values(InprocWorld::Backend::shm, InprocWorld::Backend::ring),
                         [](const auto& info) {
                           return info.param == InprocWorld::Backend::shm ? "shm" : "ring";
                         });

TEST_P(Threads, TrainAndCommunicateInAnyOrder) {
  const int count = GetParam() == InprocWorld::Backend::shm ? rounds() : fewer_rounds();
  with_a_seed([&](std::uint64_t seed) {
    InprocWorld world(kRanks, GetParam());
    // They outlive the ranks, so that the first failure is told before the others notice.
    std::array<std::shared_ptr<Context>, kRanks> contexts;
    run_ranks(kRanks, [&](RankScope& scope) {
      Config config;
      config.stall_shutdown = kStall;
      auto& context = contexts[static_cast<std::size_t>(scope.rank())];
      context = std::make_shared<Context>(value_or_throw(Session::create(world.parts(scope.rank(), config))));
      Session& session = context->session();
      scope.guard(session);
      const std::string done = run_interleavings(context, seed, count);
      if (scope.rank() == 0) std::printf("%s\n", done.c_str());
      const Status status = session.shutdown(Deadline::after(kTestDeadline));
      EXPECT_TRUE(status.is_ok()) << status.message();
    });
  });
}

HVD_PROCESS_CASE(interleavings) {
  try {
    init();
    const auto& arguments = process_arguments();
    const std::string done =
        run_interleavings(context(), std::stoull(arguments.at(0)), std::stoi(arguments.at(1)));
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
  int (*rounds)();
  std::vector<std::pair<std::string, std::string>> environment;
  const char* backends;
};

class Processes : public testing::TestWithParam<World> {};
INSTANTIATE_TEST_SUITE_P(Interleavings, Processes,
                         testing::Values(World{"shm", rounds, {}, "control shm, cpu shm"},
                                         World{"tcp",
                                               fewer_rounds,
                                               {{"HVD_CONTROL", "tcp"}, {"HVD_CPU_OPERATIONS", "ring"}},
                                               "control tcp, cpu ring"}),
                         [](const auto& info) { return info.param.name; });

TEST_P(Processes, TrainAndCommunicateInAnyOrder) {
  with_a_seed([](std::uint64_t seed) {
    ProcessOptions options;
    options.case_arguments = {std::to_string(seed), std::to_string(GetParam().rounds())};
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
