// Instructions of a step, as valgrind counts them: the same on every machine, however busy.
#include <gtest/gtest.h>
#include <valgrind/callgrind.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "horovod_cpp/base/text.h"
#include "tests/costs/mlp.h"
#include "tests/harness/process_case.h"
#include "tests/harness/process_job.h"
#include "tests/harness/temp_folder.h"

namespace hvd {
namespace {

// Small: of a larger one's step it is less.
constexpr MlpSizes kSizes{784, 128, 16};

// One process, no launcher: what a program costs that is started alone.
HVD_PROCESS_CASE(steps_of_one_process) {
  at::set_num_threads(1);
  hvd::init();
  {
    Training plain(kSizes, nullptr);
    Training wrapped(kSizes, context());
    for (int warm = 0; warm < 2; ++warm) {
      plain.step();
      wrapped.step();
    }
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
    plain.step();
    CALLGRIND_DUMP_STATS_AT("plain");
    wrapped.step();
    CALLGRIND_DUMP_STATS_AT("wrapped");
    CALLGRIND_STOP_INSTRUMENTATION;
  }
  hvd::shutdown();
  return 0;
}

// "desc: Trigger: Client Request: plain" and "totals: 123", a file for each.
std::map<std::string, std::int64_t> instructions_in(const std::string& folder) {
  const std::string trigger = "desc: Trigger: Client Request: ";
  std::map<std::string, std::int64_t> found;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path());
    std::string name;
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with(trigger)) name = line.substr(trigger.size());
      if (line.starts_with("totals: ") && !name.empty()) found[name] = std::stoll(line.substr(8));
    }
  }
  return found;
}

TEST(Instructions, OfASingleProcessAreAtMostOnePercentMore) {
  const TempFolder scratch;
  const std::string command =
      text("cd ", scratch.path().string(), " && valgrind --tool=callgrind --instr-atstart=no -q ",
           program_folder(), "/torch_costs_tests ", kCaseArgument, " steps_of_one_process");
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  auto instructions = instructions_in(scratch.path().string());
  ASSERT_GT(instructions["plain"], 1'000'000);
  const std::int64_t more = instructions["wrapped"] - instructions["plain"];
  ASSERT_GT(instructions["wrapped"], 1'000'000);
  EXPECT_LE(100 * more, instructions["plain"]) << more << " more";
}

}  // namespace
}  // namespace hvd
