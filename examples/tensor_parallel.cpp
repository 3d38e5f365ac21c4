// A layer that is too wide for one rank, cut in two: tensor parallelism in one direction, data parallelism in
// the other. With four ranks and --shards 2:
//
//               shard 0   shard 1
//   replica 0   rank 0    rank 1     a row holds one whole model: both see the same part of the batch
//   replica 1   rank 2    rank 3     a column holds the same shard: its gradients are averaged
//
//   build/bin/hvdrun -np 4 build/bin/tensor_parallel --shards 2
//
// The loss is the same, but for rounding, for any number of ranks and shards.
#include <horovod_cpp/torch.h>
#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "examples/shared/run_options.h"
#include "examples/shared/sampling.h"

namespace {

constexpr std::int64_t kInputs = 16;
constexpr std::int64_t kOutputs = 4;
constexpr std::int64_t kBatch = 48;  // over all ranks

struct Settings {
  int shards = 1;
  int steps = 50;
  std::int64_t width = 256;
};

struct Grid {
  hvd::ProcessSet model;     // my row: the shards of one model
  hvd::ProcessSet replicas;  // my column: those that hold the same shard
};

// Every rank creates all sets in the same order, and keeps the two that it is in.
Grid make_grid(int shards) {
  if (hvd::size() % shards != 0)
    throw std::invalid_argument(std::to_string(hvd::size()) + " ranks cannot be divided into models of " +
                                std::to_string(shards) + " shards");
  const int replicas = hvd::size() / shards;
  Grid grid;
  const auto add = [](int first, int count, int stride, hvd::ProcessSet& mine) {
    std::vector<int> ranks;
    for (int i = 0; i < count; ++i) ranks.push_back(first + i * stride);
    const auto set = hvd::add_process_set(ranks);
    if (set.includes_me()) mine = set;
  };
  for (int replica = 0; replica < replicas; ++replica) add(replica * shards, shards, 1, grid.model);
  for (int shard = 0; shard < shards; ++shard) add(shard, replicas, shards, grid.replicas);
  return grid;
}

// Forward: x as it is. Backward: each shard knows a part of the gradient of x; their sum is all of it.
torch::Tensor enter_shards(const torch::Tensor& x, const hvd::ProcessSet& model) {
  if (!x.requires_grad()) return x;
  const auto y = x.view_as(x);
  y.register_hook([model](const torch::Tensor& gradient) {
    return hvd::allreduce(gradient, {.name = "enter_shards", .op = hvd::Sum, .process_set = model});
  });
  return y;
}

// Forward: the sum of what the shards have. Backward: the gradient as it is, to every shard.
struct LeaveShards : torch::autograd::Function<LeaveShards> {
  static torch::Tensor forward(torch::autograd::AutogradContext*, const torch::Tensor& part,
                               const hvd::ProcessSet& model) {
    return hvd::allreduce(part, {.name = "leave_shards", .op = hvd::Sum, .process_set = model});
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 const torch::autograd::variable_list& gradients) {
    return {gradients[0], torch::Tensor()};
  }
};

// first → [a → GELU → b], where a is cut into columns and b into rows: no shard needs another's hidden values.
struct NetworkImpl : torch::nn::Module {
  NetworkImpl(const Settings& settings, const Grid& grid) : model(grid.model) {
    const auto weight = [](std::int64_t rows, std::int64_t columns) {
      return torch::randn({rows, columns}, torch::kDouble) / std::sqrt(static_cast<double>(columns));
    };
    first = register_parameter("first", weight(kInputs, kInputs));
    // All ranks draw the whole matrices, and each keeps its shard.
    const auto mine = examples::part_of(settings.width, model.rank(), model.size());
    const auto whole_a = weight(settings.width, kInputs);
    const auto whole_b = weight(kOutputs, settings.width);
    a = register_parameter("a", whole_a.slice(0, mine.begin, mine.end).clone());
    b = register_parameter("b", whole_b.slice(1, mine.begin, mine.end).clone());
  }

  torch::Tensor forward(const torch::Tensor& x) {
    const auto entered = enter_shards(torch::tanh(torch::linear(x, first)), model);
    const auto hidden = torch::gelu(torch::linear(entered, a));
    return LeaveShards::apply(torch::linear(hidden, b), model);
  }

  hvd::ProcessSet model;
  torch::Tensor first;  // whole, on every rank
  torch::Tensor a;      // [width / shards, inputs]
  torch::Tensor b;      // [outputs, width / shards]
};
TORCH_MODULE(Network);

void train(const Settings& settings) {
  const auto grid = make_grid(settings.shards);
  torch::manual_seed(1);
  Network network(settings, grid);
  torch::optim::SGD sgd(network->parameters(), torch::optim::SGDOptions(0.02).momentum(0.9));
  hvd::DistributedOptimizer optimizer(sgd, network->named_parameters(), {.process_set = grid.replicas});

  const auto inputs = torch::randn({kBatch, kInputs}, torch::kDouble);
  const auto targets = torch::sin(inputs.slice(1, 0, kOutputs) * 2);
  const auto part = examples::part_of(kBatch, grid.replicas.rank(), grid.replicas.size());
  for (int step = 0; step < settings.steps; ++step) {
    optimizer.zero_grad();
    const auto output = network->forward(inputs.slice(0, part.begin, part.end));
    // Averaged over replicas, this is the mean over the whole batch, also where parts differ in size.
    const auto loss = torch::mse_loss(output, targets.slice(0, part.begin, part.end), at::Reduction::Sum) *
                      (static_cast<double>(grid.replicas.size()) / (kBatch * kOutputs));
    loss.backward();
    optimizer.step();

    const auto mean = hvd::allreduce(loss, {.name = "loss", .process_set = grid.replicas}).item<double>();
    if (hvd::rank() == 0 && ((step + 1) % 10 == 0 || step == 0))
      std::printf("step %d  loss %.12f\n", step + 1, mean);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Tensor parallelism and data parallelism at once, with process sets.\n");
  app.add_option("--shards", settings.shards, "Ranks that hold one model; divides the number of ranks")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--width", settings.width, "Of the layer that is cut")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--steps", settings.steps)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    hvd::init();
    examples::share_cores();
    train(settings);
    hvd::shutdown();
  } catch (const std::exception& failure) {
    std::cerr << "tensor_parallel: " << failure.what() << std::endl;
    return EXIT_FAILURE;
  }
}
