// Ranks are processes: glibc treats the heaps of threads differently.
#include <sys/resource.h>

#include <cstdio>

#include "tests/harness/run_processes.h"
#include "tests/torch/models.h"

namespace hvd {
namespace {

constexpr int kSteps = 6;

long page_faults() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

// Six activations of 4 MiB, and small gradients.
HVD_PROCESS_CASE(trains_with_large_activations) {
  init();
  at::set_num_threads(1);
  torch::nn::Sequential network(torch::nn::Linear(64, 64), torch::nn::ReLU(), torch::nn::Linear(64, 64),
                                torch::nn::ReLU(), torch::nn::Linear(64, 64), torch::nn::ReLU());
  torch::optim::SGD sgd(network->parameters(), 1e-3);
  DistributedOptimizer optimizer(sgd, network->named_parameters());
  const torch::Tensor inputs = torch::ones({16384, 64});
  long before = 0;
  for (int step = 0; step < 2 * kSteps; ++step) {
    if (step == kSteps) before = page_faults();
    optimizer.zero_grad();
    network->forward(inputs).mean().backward();
    optimizer.step();
  }
  const long faults = (page_faults() - before) / kSteps;
  std::fprintf(stderr, "rank %d: %ld page faults a step\n", rank(), faults);
  shutdown();
  return faults < 500 ? 0 : 1;
}

TEST(KeptHeap, ActivationsAreNotGivenBackAndFaultedInAgain) {
  const ProcessResult result = run_processes(2, "trains_with_large_activations");
  EXPECT_TRUE(result.is_clean()) << result.describe();
}

TEST(KeptHeap, WhoSetsTheHeapUpHimselfIsLeftAlone) {
  ProcessOptions options;
  options.environment = {{"MALLOC_TRIM_THRESHOLD_", "131072"}};
  const ProcessResult result = run_processes(2, "trains_with_large_activations", options);
  EXPECT_EQ(result.exit_code, 1) << result.describe();
  EXPECT_NE(result.err.find("page faults a step"), std::string::npos) << result.describe();
}

}  // namespace
}  // namespace hvd
