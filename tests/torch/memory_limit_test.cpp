// A rank without room for the memory of the steady state.
#include <sys/resource.h>

#include <cstdio>

#include "tests/harness/run_processes.h"
#include "tests/torch/models.h"

namespace hvd {
namespace {

HVD_PROCESS_CASE(train_without_room_for_the_plan) {
  init();
  if (rank() == 1) {
    const rlimit limit{64 << 10, 64 << 10};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  torch::manual_seed(1);
  torch::nn::Linear layer(300, 300);
  torch::optim::SGD sgd(layer->parameters(), 0.1);
  DistributedOptimizer optimizer(sgd, layer->named_parameters());
  for (int step = 0; step < 6; ++step) {
    optimizer.zero_grad();
    (layer(torch::ones({4, 300})).sum() * (rank() + 1)).backward();
    if (layer->bias.grad()[0].item<float>() != 4 * 1.5F) {
      std::fprintf(stderr, "rank %d: step %d has a wrong average\n", rank(), step);
      return 1;
    }
    optimizer.step();
  }
  const bool is_alike = torch::equal(allreduce(layer->weight, {.op = Max}), layer->weight);
  shutdown();
  return is_alike ? 0 : 1;
}

TEST(PlanMemory, ThatOneRankHasNoRoomForLeavesStepsNegotiated) {
  const ProcessResult result = run_processes(2, "train_without_room_for_the_plan");
  EXPECT_TRUE(result.is_clean()) << result.describe();
  const std::string words = "gradients are negotiated in every step, which is slower: ";
  const std::size_t first = result.err.find(words);
  ASSERT_NE(first, std::string::npos) << result.describe();
  EXPECT_EQ(result.err.find(words, first + 1), std::string::npos)
      << "told more than once: " << result.describe();
  EXPECT_NE(result.err.find("shared memory of rank 1: it cannot allocate"), std::string::npos)
      << result.describe();
}

}  // namespace
}  // namespace hvd
