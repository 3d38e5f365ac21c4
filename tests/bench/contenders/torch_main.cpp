// Ranks of our LibTorch binding: hvd_bench_torch hooks|sharded|alone, started by hvdrun.
#include <ATen/Parallel.h>
#include <horovod_cpp/torch/context.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <thread>

#include "tests/bench/contenders/torch_contenders.h"
#include "tests/bench/rank.h"

namespace {

hvd::bench::Together together_of(const std::string& word) {
  using hvd::bench::Together;
  return word == "alone" ? Together::alone : word == "sharded" ? Together::sharded : Together::hooks;
}

hvd::Status serve(hvd::bench::Together together) {
  using hvd::bench::Workload;
  auto rank = hvd::bench::Rank::join({hvd::rank(), hvd::size()});
  HVD_RETURN_IF_ERROR(rank.status());
  at::set_num_threads(std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / hvd::size()));
  rank.value().obey([&](const Workload& workload) {
    const bool has_forward = workload.is_step() && workload.name != hvd::bench::kGpt2AdamW;
    return has_forward ? hvd::bench::make_step(workload, together)
                       : hvd::bench::make_backward(workload, together);
  });
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  try {
    hvd::init();
    const hvd::Status status = serve(together_of(argc > 1 ? argv[1] : ""));
    if (!status.is_ok()) std::fprintf(stderr, "hvd_bench_torch: %s\n", status.message().c_str());
    hvd::shutdown();
    return status.is_ok() ? 0 : 1;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "hvd_bench_torch: %s\n", failure.what());
    return 1;
  }
}
