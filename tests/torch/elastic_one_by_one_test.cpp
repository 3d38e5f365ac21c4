// Ranks that are lost one after the other, until one is left.
#include <gtest/gtest.h>

#include <csignal>

#include "horovod_cpp/base/text.h"
#include "tests/harness/run_processes.h"
#include "tests/torch/elastic_run.h"

namespace hvd {
namespace {

// Loses all but the last rank, each once those who are left train again.
void lose_one_by_one(int ranks, const std::vector<std::pair<std::string, std::string>>& environment) {
  ProcessOptions options;
  options.launcher_arguments = {"--min-np", "1"};
  options.environment = environment;
  ProcessJob job(ranks, "trains_on", options);
  const int last = ranks - 1;
  for (int rank = 0; rank < ranks; ++rank) ASSERT_TRUE(job.wait_until_reached(rank, "training").is_ok());
  for (int victim = 0; victim < last; ++victim) {
    ASSERT_TRUE(job.kill_rank(victim, SIGKILL).is_ok());
    if (victim + 1 < last) {
      ASSERT_TRUE(job.wait_until_reached(victim + 1, "training again").is_ok());
    }
  }
  const ProcessResult result = job.finish();
  ASSERT_TRUE(result.is_clean()) << result.describe();
  EXPECT_NE(result.err.find(text("the job goes on with rank ", last)), std::string::npos)
      << result.describe();
  const auto state = result.files.find("met.1");
  ASSERT_NE(state, result.files.end()) << result.describe();
  EXPECT_EQ(result.files.at(text("final.", last)),
            text("rank 0 of 1: ", final_bits_of_fresh_run(1, state->second)));
}

const std::vector<std::pair<std::string, std::string>> kOverTcp{{"HVD_CONTROL", "tcp"},
                                                                {"HVD_CPU_OPERATIONS", "ring"}};

TEST(ElasticOneByOne, OfTwoOneGoesOn) { lose_one_by_one(2, {}); }

TEST(ElasticOneByOne, OfThreeOneGoesOnOverTcpToo) { lose_one_by_one(3, kOverTcp); }

}  // namespace
}  // namespace hvd
