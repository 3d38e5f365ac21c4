#include "examples/shared/run_options.h"

#include <ATen/Parallel.h>
#include <horovod_cpp/torch/context.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

namespace examples {

void add_run_options(CLI::App& app, RunOptions& options, const std::string& when) {
  app.add_option("--seed", options.seed, "Of the initial parameters and of everything else that is random")
      ->capture_default_str();
  app.add_option("--precision", options.precision)
      ->check(CLI::IsMember({"float32", "float64"}))
      ->capture_default_str();
  auto* checkpoint = app.add_option("--checkpoint", options.checkpoint, "Rank 0 saves here " + when);
  app.add_flag("--resume", options.resume, "Go on from --checkpoint")->needs(checkpoint);
  app.add_option("--loss-log", options.loss_log,
                 "Rank 0 writes the mean loss of each step here, 17 digits a line");
  app.add_flag("--parameters-digest", options.parameters_digest,
               "Each rank prints a digest of all bits of its parameters at the end");
}

void share_cores() {
  if (std::getenv("OMP_NUM_THREADS") != nullptr) return;
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  at::set_num_threads(std::max(1, cores / hvd::local_size()));
}

}  // namespace examples
