// Learns handwritten digits, and goes on when ranks are lost. The learning itself is that of digits.cpp, made small.
//
//   build/bin/hvdrun -np 3 --min-np 2 build/bin/elastic --lose-rank 1    rank 1 kills itself on the way
//   build/bin/elastic --help
#include <horovod_cpp/torch.h>
#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "examples/digits_data.h"
#include "examples/shared/run_options.h"
#include "examples/shared/sampling.h"

namespace {

struct Settings {
  std::int64_t steps = 600;
  std::int64_t batch_size = 60;  // over all ranks, however many they are
  std::int64_t commit_every = 10;
  int lose_rank = -1;
  std::int64_t lose_at = 200;
  std::string data = digits::default_data_file();
};

torch::Tensor to_tensor(const std::vector<float>& pixels) {
  return (torch::tensor(pixels).view({-1, digits::kPixels}) - 0.305) / 0.376;
}

void train(const Settings& settings) {
  const auto data = digits::load(settings.data);
  const auto images = to_tensor(data.train.pixels);
  const auto labels = torch::tensor(data.train.labels);

  torch::manual_seed(1);
  torch::nn::Sequential network(torch::nn::Linear(digits::kPixels, 128), torch::nn::ReLU(),
                                torch::nn::Linear(128, digits::kClasses));
  torch::optim::Adam adam(network->parameters(), torch::optim::AdamOptions(2e-3));
  std::int64_t step = 0;

  // What survivors go back to: the network, its optimizer, and how far they had come.
  hvd::State state(*network, adam);
  state.track("step", step);
  const int started_as = hvd::rank();

  hvd::run_elastic(state, [&] {
    // Runs again after each loss, with fewer ranks: what depends on them is made here.
    hvd::DistributedOptimizer optimizer(adam, network->named_parameters());
    if (hvd::rank() == 0) std::cout << "step " << step << ": " << hvd::size() << " ranks" << std::endl;
    while (step < settings.steps) {
      const auto chosen = torch::tensor(examples::random_positions(settings.batch_size, data.train.count(), 1,
                                                                   static_cast<std::uint64_t>(step)));
      const auto part = examples::part_of(settings.batch_size, hvd::rank(), hvd::size());
      const auto mine = chosen.slice(0, part.begin, part.end);
      optimizer.zero_grad();
      const auto loss = torch::nn::functional::cross_entropy(
                            network->forward(images.index_select(0, mine)), labels.index_select(0, mine),
                            torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum)) *
                        (static_cast<double>(hvd::size()) / static_cast<double>(settings.batch_size));
      loss.backward();
      if (step == settings.lose_at && started_as == settings.lose_rank) std::raise(SIGKILL);
      optimizer.step();
      ++step;
      if (step % settings.commit_every == 0) state.commit();
    }
  });

  if (hvd::rank() != 0) return;
  const torch::NoGradGuard no_grad;
  const auto answers = network->forward(to_tensor(data.test.pixels)).argmax(1);
  const auto right = answers.eq(torch::tensor(data.test.labels)).sum().item<double>();
  std::printf("test accuracy %.1f %%, on %d ranks\n", 100 * right / static_cast<double>(data.test.count()),
              hvd::size());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app(
      "Learns 8 x 8 handwritten digits, and goes on with the ranks that are left when some are lost.\n");
  app.footer(
      "Try next:\n"
      "  hvdrun -np 3 --min-np 2 build/bin/elastic --lose-rank 1   rank 1 kills itself, the others go on\n"
      "  hvdrun -np 2 --min-np 2 build/bin/elastic --lose-rank 1   too few are left\n"
      "or give --steps 100000 and kill -9 a rank yourself: hvdrun --verbose says their process numbers.");
  app.add_option("--steps", settings.steps, "Training steps")->capture_default_str();
  app.add_option("--batch-size", settings.batch_size, "Images per step over all ranks")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--commit-every", settings.commit_every,
                 "Steps between commits: as many are lost with a rank")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--lose-rank", settings.lose_rank, "This rank kills itself …");
  app.add_option("--lose-at", settings.lose_at, "… in this step")->capture_default_str();
  app.add_option("--data", settings.data, "The digits, one a line")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    hvd::init();
    examples::share_cores();
    train(settings);
    hvd::shutdown();
  } catch (const std::exception& failure) {
    std::cerr << "elastic: " << failure.what() << std::endl;
    return EXIT_FAILURE;
  }
}
