// Learns handwritten digits on any number of ranks.
// The lines that begin with hvd:: are all that data parallelism adds.
//
//   build/bin/digits                         one process
//   build/bin/hvdrun -np 2 build/bin/digits  two ranks, each with half of the data
//   build/bin/digits --help
#include <horovod_cpp/torch.h>
#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "examples/digits_data.h"
#include "examples/shared/checkpoint.h"
#include "examples/shared/progress.h"
#include "examples/shared/records.h"
#include "examples/shared/run_options.h"
#include "examples/shared/sampling.h"

namespace {

struct Settings {
  int epochs = 10;
  std::int64_t batch_size = 32;
  std::int64_t global_batch_size = 0;
  double learning_rate = 0.02;
  double warmup_epochs = 1;
  std::int64_t steps = 0;
  std::string data = digits::default_data_file();
  examples::RunOptions run;
};

struct NetworkImpl : torch::nn::Module {
  NetworkImpl() {
    register_module("layers", layers);
    register_module("classifier", classifier);
  }
  torch::Tensor forward(const torch::Tensor& images) { return classifier->forward(layers->forward(images)); }

  torch::nn::Sequential layers{torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 16, 3).padding(1)),
                               torch::nn::ReLU(),
                               torch::nn::Conv2d(torch::nn::Conv2dOptions(16, 32, 3).padding(1)),
                               torch::nn::ReLU(),
                               torch::nn::MaxPool2d(torch::nn::MaxPool2dOptions(2)),
                               torch::nn::Flatten(),
                               torch::nn::Linear(32 * 4 * 4, 64),
                               torch::nn::ReLU()};
  torch::nn::Linear classifier{64, digits::kClasses};
};
TORCH_MODULE(Network);

struct TensorSet {
  torch::Tensor images;  // [count, 1, 8, 8]
  torch::Tensor labels;  // [count]
};

TensorSet to_tensors(const digits::Images& set, torch::Dtype dtype) {
  const auto pixels =
      torch::tensor(set.pixels).view({set.count(), 1, digits::kSide, digits::kSide}).to(dtype);
  return {(pixels - 0.305) / 0.376,  // mean and deviation of this data set: learning is faster around zero
          torch::tensor(set.labels)};
}

// The learning rate grows with the batch. It starts as on one rank,
// because large steps from random weights diverge.
double learning_rate_at(const Settings& settings, double epochs_done) {
  if (settings.global_batch_size > 0) return settings.learning_rate;
  const double warm = settings.warmup_epochs > 0 ? std::min(1.0, epochs_done / settings.warmup_epochs) : 1.0;
  return settings.learning_rate * (1.0 + (hvd::size() - 1) * warm);
}

double test_accuracy(Network& network, const TensorSet& test) {
  const torch::NoGradGuard no_grad;
  const auto mine = examples::part_of(test.labels.size(0), hvd::rank(), hvd::size());
  const auto images = test.images.slice(0, mine.begin, mine.end);
  const auto right = network->forward(images).argmax(1).eq(test.labels.slice(0, mine.begin, mine.end)).sum();
  return hvd::allreduce(right.to(torch::kDouble), {.op = hvd::Sum}).item<double>() /
         static_cast<double>(test.labels.size(0));
}

void train(const Settings& settings) {
  const auto dtype = settings.run.dtype();
  const auto data = digits::load(settings.data);
  const TensorSet train_set = to_tensors(data.train, dtype);

  torch::manual_seed(settings.run.seed);
  Network network;
  network->to(dtype);
  torch::optim::SGD sgd(network->parameters(),
                        torch::optim::SGDOptions(settings.learning_rate).momentum(0.9));
  const auto first_epoch =
      settings.run.resume ? examples::load_checkpoint(settings.run.checkpoint, *network, sgd) : 0;

  hvd::broadcast_parameters(*network);
  hvd::DistributedOptimizer optimizer(sgd, network->named_parameters());

  const std::int64_t batch =
      settings.global_batch_size > 0 ? settings.global_batch_size : settings.batch_size * hvd::size();
  const std::int64_t batches = data.train.count() / batch;
  if (batches == 0) {
    throw std::runtime_error("a batch of " + std::to_string(batch) + " over all ranks is more than the " +
                             std::to_string(data.train.count()) +
                             " training images: use a smaller --batch-size");
  }
  examples::Progress progress(hvd::rank() == 0, "samples");
  examples::LossLog loss_log(settings.run.loss_log);

  std::int64_t steps = 0;
  const auto is_enough = [&] { return settings.steps > 0 && steps >= settings.steps; };
  for (auto epoch = first_epoch; epoch < settings.epochs && !is_enough(); ++epoch) {
    // Every rank draws the same order, and takes its own part of each batch.
    const auto order =
        torch::tensor(examples::shuffled_indices(data.train.count(), settings.run.seed, epoch));
    progress.begin("epoch " + std::to_string(epoch + 1) + "/" + std::to_string(settings.epochs), batches);
    std::int64_t b = 0;
    for (; b < batches && !is_enough(); ++b, ++steps) {
      const double epochs_done =
          static_cast<double>(epoch) + static_cast<double>(b) / static_cast<double>(batches);
      sgd.param_groups().front().options().set_lr(learning_rate_at(settings, epochs_done));
      const auto part = examples::part_of(batch, hvd::rank(), hvd::size());
      const auto mine = order.slice(0, b * batch + part.begin, b * batch + part.end);

      optimizer.zero_grad();
      const auto output = network->forward(train_set.images.index_select(0, mine));
      // Averaged over ranks, this is the mean over the whole batch, also where parts differ in size.
      const auto loss = torch::nn::functional::cross_entropy(
                            output, train_set.labels.index_select(0, mine),
                            torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum)) *
                        (static_cast<double>(hvd::size()) / static_cast<double>(batch));
      loss.backward();
      optimizer.step();

      const double mean_loss = hvd::allreduce(loss, {.name = "loss"}).item<double>();
      progress.step(mean_loss, batch);
      loss_log.write(mean_loss);
    }
    progress.end();
    if (hvd::rank() == 0 && !settings.run.checkpoint.empty())
      examples::save_checkpoint(settings.run.checkpoint, *network, sgd, b == batches ? epoch + 1 : epoch);
  }

  if (settings.run.parameters_digest) examples::print_parameters_digest(network->parameters());
  const double accuracy = test_accuracy(network, to_tensors(data.test, dtype));
  if (hvd::rank() == 0) {
    std::printf("test accuracy %.1f %%\n", 100 * accuracy);
    std::fflush(stdout);
  }
}

void add_options(CLI::App& app, Settings& settings) {
  app.add_option("--epochs", settings.epochs, "Train until this many epochs are done")->capture_default_str();
  app.add_option("--batch-size", settings.batch_size, "Images per rank and step")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option(
         "--global-batch-size", settings.global_batch_size,
         "Images per step over all ranks, instead of --batch-size: the same training on any number of ranks, "
         "without scaling of the learning rate")
      ->check(CLI::PositiveNumber);
  app.add_option("--learning-rate", settings.learning_rate, "For one rank; multiplied by the number of ranks")
      ->capture_default_str();
  app.add_option("--warmup-epochs", settings.warmup_epochs,
                 "The multiplication comes in gradually over these epochs")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--steps", settings.steps, "Stop after this many steps; 0: when the epochs are done")
      ->capture_default_str();
  app.add_option("--data", settings.data, "The digits, one a line")->capture_default_str();
  examples::add_run_options(app, settings.run, "after each epoch");
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Learns 8 x 8 handwritten digits with a small convolutional network, on one or many ranks.\n");
  app.footer(
      "Try next:\n"
      "  hvdrun -np 2 build/bin/digits                                      twice the batch on two ranks\n"
      "  hvdrun -np 2 build/bin/digits --checkpoint /tmp/digits.pt --epochs 3\n"
      "  hvdrun -np 3 build/bin/digits --checkpoint /tmp/digits.pt --resume   go on, with another rank\n"
      "  hvdrun -np 2 build/bin/digits --global-batch-size 64 --parameters-digest\n"
      "then read examples/digits.cpp: the lines with hvd:: are what data parallelism adds.");
  add_options(app, settings);
  CLI11_PARSE(app, argc, argv);
  try {
    hvd::init();
    examples::share_cores();
    train(settings);
    hvd::shutdown();
    return EXIT_SUCCESS;
  } catch (const std::exception& failure) {
    std::cerr << "digits: " << failure.what() << std::endl;
    return EXIT_FAILURE;
  }
}
