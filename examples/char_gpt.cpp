// Learns to write, one character after the other, with a small transformer on any number of ranks.
// The lines that begin with hvd:: are all that data parallelism adds. The model is in char_gpt_model, the text
// in char_gpt_text.
//
//   build/bin/hvdrun -np 2 build/bin/char_gpt
//   build/bin/char_gpt --help
#include <ATen/CPUGeneratorImpl.h>
#include <horovod_cpp/torch.h>
#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <numbers>

#include "examples/char_gpt_model.h"
#include "examples/char_gpt_text.h"
#include "examples/shared/checkpoint.h"
#include "examples/shared/progress.h"
#include "examples/shared/read_on_rank_0.h"
#include "examples/shared/records.h"
#include "examples/shared/run_options.h"
#include "examples/shared/sampling.h"

namespace {

constexpr std::int64_t kHeldOutWindows = 48;

struct Settings {
  char_gpt::Shape shape;
  double dropout = 0;
  std::vector<std::filesystem::path> text;
  std::int64_t global_batch_size = 24;
  std::int64_t steps = 300;
  std::int64_t stop_after = 0;
  std::int64_t evaluate_every = 50;
  double learning_rate = 3e-3;
  std::int64_t warmup_steps = 30;
  double weight_decay = 0.1;
  double clip = 1;
  std::string prompt = "The ";
  std::int64_t sample_length = 400;
  double temperature = 0.8;
  examples::RunOptions run;
};

// Up to the full rate in a straight line, then down to a tenth of it on a cosine.
double learning_rate_at(const Settings& settings, std::int64_t step) {
  if (step < settings.warmup_steps) {
    return settings.learning_rate * static_cast<double>(step + 1) /
           static_cast<double>(settings.warmup_steps);
  }
  const double done = static_cast<double>(step - settings.warmup_steps) /
                      static_cast<double>(std::max<std::int64_t>(settings.steps - settings.warmup_steps, 1));
  return settings.learning_rate * (0.55 + 0.45 * std::cos(std::numbers::pi * done));
}

// Weights decay, norms do not.
torch::optim::AdamW make_optimizer(const char_gpt::Model& model, const Settings& settings) {
  std::vector<torch::Tensor> weights;
  std::vector<torch::Tensor> norms;
  for (const auto& parameter : model->parameters())
    (parameter.dim() < 2 ? norms : weights).push_back(parameter);
  const auto group = [&](const std::vector<torch::Tensor>& parameters, double weight_decay) {
    auto options = torch::optim::AdamWOptions(settings.learning_rate).betas({0.9, 0.95});
    options.weight_decay(weight_decay);
    return torch::optim::OptimizerParamGroup(parameters,
                                             std::make_unique<torch::optim::AdamWOptions>(options));
  };
  return torch::optim::AdamW(std::vector{group(weights, settings.weight_decay), group(norms, 0)});
}

// The characters from each start on, one more than the model sees at once: int64 [starts, context + 1].
torch::Tensor windows(const torch::Tensor& text, torch::ArrayRef<std::int64_t> starts, std::int64_t context) {
  return text.unfold(0, context + 1, 1).index_select(0, torch::tensor(starts)).to(torch::kLong);
}

// Summed over all characters but the first of each window.
torch::Tensor loss_of(char_gpt::Model& model, const torch::Tensor& windows) {
  const auto logits = model->forward(windows.slice(1, 0, -1));
  return torch::nn::functional::cross_entropy(
      logits.flatten(0, 1), windows.slice(1, 1).flatten(),
      torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum));
}

// The mean loss of a character in windows that are spread evenly over the text. Each rank takes its part of them.
double held_out_loss(char_gpt::Model& model, const torch::Tensor& text) {
  const torch::NoGradGuard no_grad;
  model->eval();
  const auto context = model->shape.context;
  const auto count = std::min(kHeldOutWindows, text.size(0) / (context + 1));
  const auto mine = examples::part_of(count, hvd::rank(), hvd::size());
  auto sum = torch::zeros({}, torch::kDouble);
  for (auto i = mine.begin; i < mine.end; ++i)
    sum += loss_of(model, windows(text, {i * (text.size(0) - context - 1) / count}, context));
  model->train();
  return hvd::allreduce(sum, {.op = hvd::Sum}).item<double>() / static_cast<double>(count * context);
}

// Lets the model go on from the prompt.
std::string sample(char_gpt::Model& model, const char_gpt::Vocabulary& vocabulary, const Settings& settings) {
  const torch::NoGradGuard no_grad;
  model->eval();
  auto generator = at::make_generator<at::CPUGeneratorImpl>(settings.run.seed);
  std::string text = settings.prompt;
  std::erase_if(text, [&](char character) { return !vocabulary.contains(character); });
  if (text.empty()) text = vocabulary.decode(0);
  for (std::int64_t i = 0; i < settings.sample_length; ++i) {
    const auto seen = text.substr(text.size() - std::min<std::size_t>(text.size(), model->shape.context));
    const auto logits = model->forward(torch::tensor(vocabulary.encode(seen)).to(torch::kLong).unsqueeze(0));
    const auto likely = torch::softmax(logits[0][-1] / settings.temperature, 0);
    text += vocabulary.decode(torch::multinomial(likely, 1, false, generator).item<std::int64_t>());
  }
  return text;
}

// The last tenth is held out.
std::pair<torch::Tensor, torch::Tensor> split(const std::string& text, const char_gpt::Vocabulary& vocabulary,
                                              std::int64_t context) {
  const auto characters = torch::tensor(vocabulary.encode(text));
  const auto learned = characters.size(0) * 9 / 10;
  if (characters.size(0) - learned <= context) {
    throw std::runtime_error("the text has " + std::to_string(text.size()) +
                             " characters: too few for a --context of " + std::to_string(context));
  }
  return {characters.slice(0, 0, learned), characters.slice(0, learned)};
}

void train(Settings settings) {
  // Hosts may have other versions of a file: everybody learns rank 0's text.
  const auto text = examples::read_on_rank_0([&] {
    return char_gpt::read_text(settings.text.empty() ? char_gpt::default_text_files() : settings.text);
  });
  const char_gpt::Vocabulary vocabulary(text);
  const auto [learned, held_out] = split(text, vocabulary, settings.shape.context);
  settings.shape.vocabulary = vocabulary.size();

  torch::manual_seed(settings.run.seed);
  char_gpt::Model model(settings.shape, settings.dropout);
  model->to(settings.run.dtype());
  auto adamw = make_optimizer(model, settings);
  const std::string made_for = char_gpt::to_string(settings.shape) + ", " + settings.run.precision;
  std::int64_t step = 0;
  if (settings.run.resume) step = examples::load_checkpoint(settings.run.checkpoint, *model, adamw, made_for);

  hvd::broadcast_parameters(*model);
  hvd::DistributedOptimizer optimizer(adamw, model->named_parameters());
  torch::manual_seed(settings.run.seed + 1 + static_cast<std::uint64_t>(hvd::rank()));  // dropout differs

  const auto batch = settings.global_batch_size;
  if (batch < hvd::size()) {
    throw std::runtime_error("--global-batch-size " + std::to_string(batch) + " is less than the " +
                             std::to_string(hvd::size()) + " ranks");
  }
  const auto part = examples::part_of(batch, hvd::rank(), hvd::size());
  const auto last = settings.stop_after > 0 ? std::min(settings.steps, settings.stop_after) : settings.steps;
  const double loss_before = held_out_loss(model, held_out);
  if (hvd::rank() == 0) {
    std::int64_t parameters = 0;
    for (const auto& parameter : model->parameters()) parameters += parameter.numel();
    std::printf("%lld parameters, %zu characters of text, held-out loss %.4f\n",
                static_cast<long long>(parameters), text.size(), loss_before);
  }
  examples::Progress progress(hvd::rank() == 0, "characters");
  examples::LossLog loss_log(settings.run.loss_log);

  while (step < last) {
    const auto stage_end = std::min(last, (step / settings.evaluate_every + 1) * settings.evaluate_every);
    progress.begin("step " + std::to_string(stage_end) + "/" + std::to_string(settings.steps),
                   stage_end - step);
    for (; step < stage_end; ++step) {
      for (auto& group : adamw.param_groups()) group.options().set_lr(learning_rate_at(settings, step));
      // Every rank draws the same batch, and takes its own part of it.
      const auto starts = examples::random_positions(batch, learned.size(0) - settings.shape.context,
                                                     settings.run.seed, step);
      const auto mine = torch::ArrayRef(starts).slice(part.begin, part.end - part.begin);

      optimizer.zero_grad();
      // Averaged over ranks, this is the mean over the whole batch, also where parts differ in size.
      const auto loss =
          loss_of(model, windows(learned, mine, settings.shape.context)) *
          (static_cast<double>(hvd::size()) / static_cast<double>(batch * settings.shape.context));
      loss.backward();
      // Of the average: all ranks clip alike.
      torch::nn::utils::clip_grad_norm_(model->parameters(), settings.clip);
      optimizer.step();

      const double mean_loss = hvd::allreduce(loss, {.name = "loss"}).item<double>();
      progress.step(mean_loss, batch * settings.shape.context);
      loss_log.write(mean_loss);
    }
    std::array<char, 40> remark{};
    std::snprintf(remark.data(), remark.size(), "held-out loss %.4f", held_out_loss(model, held_out));
    progress.end(remark.data());
    if (hvd::rank() == 0 && !settings.run.checkpoint.empty())
      examples::save_checkpoint(settings.run.checkpoint, *model, adamw, step, made_for);
  }

  if (settings.run.parameters_digest) examples::print_parameters_digest(model->parameters());
  if (hvd::rank() == 0 && settings.sample_length > 0) {
    std::printf("---- sample\n%s\n----\n", sample(model, vocabulary, settings).c_str());
    std::fflush(stdout);
  }
}

void add_options(CLI::App& app, Settings& settings) {
  const auto add = [&app](const std::string& name, auto& value, const std::string& what) {
    return app.add_option(name, value, what)->capture_default_str();
  };
  app.add_option(
      "--text", settings.text,
      "Files to learn, one after the other. Without: the licences of Debian, or else Python's library");
  add("--global-batch-size", settings.global_batch_size,
      "Pieces of text per step over all ranks: the same training on any number of ranks")
      ->check(CLI::PositiveNumber);
  add("--context", settings.shape.context, "Characters that the model sees at most")
      ->check(CLI::PositiveNumber);
  add("--layers", settings.shape.layers, "")->check(CLI::PositiveNumber);
  add("--heads", settings.shape.heads, "Of attention, in each layer")->check(CLI::PositiveNumber);
  add("--width", settings.shape.width, "Of the vectors between layers; a multiple of --heads")
      ->check(CLI::PositiveNumber);
  add("--dropout", settings.dropout, "")->check(CLI::Range(0.0, 0.9));
  add("--steps", settings.steps, "The whole training, over which the learning rate falls")
      ->check(CLI::PositiveNumber);
  app.add_option("--stop-after", settings.stop_after, "Stop and save at this step already: --resume goes on")
      ->check(CLI::PositiveNumber);
  add("--evaluate-every", settings.evaluate_every, "Steps between evaluations on the last tenth of the text")
      ->check(CLI::PositiveNumber);
  add("--learning-rate", settings.learning_rate, "The highest");
  add("--warmup-steps", settings.warmup_steps, "Until it is reached")->check(CLI::NonNegativeNumber);
  add("--weight-decay", settings.weight_decay, "");
  add("--clip", settings.clip, "Longest gradient")->check(CLI::PositiveNumber);
  add("--prompt", settings.prompt, "How the sample begins");
  add("--sample-length", settings.sample_length, "Characters that rank 0 writes at the end")
      ->check(CLI::NonNegativeNumber);
  add("--temperature", settings.temperature, "Of the sample; lower is more cautious")
      ->check(CLI::PositiveNumber);
  examples::add_run_options(app, settings.run, "after each evaluation");
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app(
      "Learns to write, one character after the other, with a small transformer, on one or many ranks.\n");
  app.footer(
      "Try next:\n"
      "  hvdrun -np 2 build/bin/char_gpt --text my-book.txt --steps 2000\n"
      "  hvdrun -np 2 build/bin/char_gpt --checkpoint /tmp/gpt.pt --stop-after 100\n"
      "  hvdrun -np 3 build/bin/char_gpt --checkpoint /tmp/gpt.pt --resume      go on, with another rank\n"
      "then read examples/char_gpt.cpp: the lines with hvd:: are what data parallelism adds.");
  add_options(app, settings);
  CLI11_PARSE(app, argc, argv);
  try {
    hvd::init();
    examples::share_cores();
    train(settings);
    hvd::shutdown();
  } catch (const std::exception& failure) {
    std::cerr << "char_gpt: " << failure.what() << std::endl;
    return EXIT_FAILURE;
  }
}
