// Worlds of random size on random transports: random operations in random process sets until the end, which is a good one, or a rank that is
// killed, exits, or aborts at a random moment. Then the next world. ./dev soak runs it for long.
#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <random>
#include <thread>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/world.h"
#include "tests/harness/run_processes.h"
#include "tests/harness/seed.h"
#include "tests/process/random_life.h"
#include "tests/ranks/session_calls.h"

namespace hvd {
namespace {

enum class Fate { ends_well, is_killed, exits, aborts };

// Everything about a world, from its seed.
struct Plan {
  explicit Plan(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    size = 2 + static_cast<int>(random() % 3);
    is_tcp = random() % 2 == 0;
    fate = static_cast<Fate>(random() % 4);
    victim = static_cast<int>(random() % static_cast<unsigned>(size));
    delay = std::chrono::microseconds(random() % 200'000);
    actions = 10 + static_cast<int>(random() % 30);
  }
  std::string text() const {
    const char* const fates[] = {"ends well", "is killed", "exits", "aborts"};
    return hvd::text(size, " ranks over ", is_tcp ? "tcp" : "shm", ", rank ", victim, ' ',
                     fates[static_cast<int>(fate)], " after ", delay.count(), " us");
  }
  // What the others say.
  std::string cause() const {
    return fate == Fate::aborts ? "on purpose" : hvd::text("rank ", victim, " (pid ");
  }

  int size = 0;
  bool is_tcp = false;
  Fate fate{};
  int victim = 0;
  std::chrono::microseconds delay{};
  int actions = 0;
};

void meet_fate(Session& session, const Plan& plan) {
  std::this_thread::sleep_for(plan.delay);
  if (plan.fate == Fate::is_killed) std::raise(SIGKILL);
  if (plan.fate == Fate::exits) std::_Exit(7);
  session.abort(Status::aborted(text("rank ", session.rank(), ": on purpose")));
}

HVD_PROCESS_CASE(random_world) {
  const std::uint64_t seed = std::stoull(process_arguments().at(0));
  const Plan plan(seed);
  auto opened = open_session();
  if (!opened.is_ok()) return 2;
  Session& session = **opened;
  std::string wrong;
  {
    std::optional<RandomLife> life;
    try {
      life.emplace(session, seed);
    } catch (const std::runtime_error& error) {
      wrong = error.what();
    }
    std::thread fate;
    if (plan.fate != Fate::ends_well && process_rank() == plan.victim)
      fate = std::thread([&] { meet_fate(session, plan); });
    for (int i = 0; wrong.empty() && (plan.fate != Fate::ends_well || i < plan.actions); ++i)
      wrong = life->act();
    if (fate.joinable()) fate.join();
  }
  if (wrong.empty()) wrong = session.shutdown(soon()).message();
  std::ofstream(process_folder() + text("/told.", process_rank())) << wrong;
  return plan.fate == Fate::ends_well ? 0 : 1;
}

TEST(RandomWorlds, EndAsTheyShould) {
  for_each_seed(3, 300, [](std::uint64_t seed) {
    const Plan plan(seed);
    SCOPED_TRACE(plan.text());
    ProcessOptions options;
    options.case_arguments = {std::to_string(seed)};
    options.launcher_arguments = {"--failure-grace", "30"};
    if (plan.is_tcp) options.environment = {{"HVD_CONTROL", "tcp"}, {"HVD_CPU_OPERATIONS", "ring"}};
    const ProcessResult result = run_processes(plan.size, "random_world", options);
    EXPECT_FALSE(result.timed_out) << result.describe();
    EXPECT_TRUE(result.leftovers.empty()) << result.describe();
    EXPECT_EQ(result.err.find(" ended by hvdrun"), std::string::npos) << result.describe();
    const int status[] = {0, 128 + SIGKILL, 7, 1};
    EXPECT_EQ(result.exit_code, status[static_cast<int>(plan.fate)]) << result.describe();
    const bool dies = plan.fate == Fate::is_killed || plan.fate == Fate::exits;
    int told = 0;
    for (const auto& [name, words] : result.files) {
      if (!name.starts_with("told.")) continue;
      ++told;
      if (plan.fate == Fate::ends_well) {
        EXPECT_EQ(words, "") << name;
      } else {
        EXPECT_NE(words.find(plan.cause()), std::string::npos) << name << ": " << words;
      }
    }
    EXPECT_EQ(told, plan.size - (dies ? 1 : 0)) << result.describe();
  });
}

}  // namespace
}  // namespace hvd
