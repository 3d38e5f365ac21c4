// The elastic example as users run it.
#include "tests/torch/example_runs.h"

namespace hvd {
namespace {

class ElasticRuns : public ExampleRuns {
 protected:
  bool logs_losses() const override { return false; }
};

std::string elastic_hvdrun(int ranks, int min_np) {
  return hvdrun(ranks) + "--min-np " + std::to_string(min_np) + " ";
}

void expect_words(const std::string& output, std::initializer_list<const char*> all) {
  for (const char* words : all) EXPECT_NE(output.find(words), std::string::npos) << words << "\n" << output;
}

TEST_F(ElasticRuns, GoesOnWithoutALostRankFromTheLastCommit) {
  const Outcome outcome =
      run_well("elastic", elastic_hvdrun(3, 2), "--steps 300 --lose-rank 0 --lose-at 105");
  expect_words(outcome.output, {"step 0: 3 ranks", "rank 0 (pid ", "the job goes on with ranks 1, 2",
                                "step 100: 2 ranks", ", on 2 ranks"});
}

TEST_F(ElasticRuns, EndsIfTooFewAreLeft) {
  const Outcome outcome = run("elastic", elastic_hvdrun(2, 2), "--lose-rank 1 --lose-at 20");
  EXPECT_EQ(outcome.exit_code, 128 + 9) << outcome.output;
  expect_words(outcome.output, {"--min-np asks for 2", "rank 1 (pid "});
}

TEST_F(ElasticRuns, IsAnOrdinaryProgramOtherwise) {
  expect_words(run_well("elastic", "", "--steps 20").output, {"step 0: 1 ranks", ", on 1 ranks"});
}

}  // namespace
}  // namespace hvd
