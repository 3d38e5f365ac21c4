#include "tests/torch/elastic_run.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "horovod_cpp/base/text.h"
#include "tests/harness/run_processes.h"
#include "tests/torch/models.h"

namespace hvd {
namespace {

constexpr std::int64_t kSteps = 1000;

struct Run {
  torch::nn::Sequential network = make_network();
  torch::optim::AdamW optimizer{network->parameters(), torch::optim::AdamWOptions(0.01)};
  std::int64_t step = 0;

  // Until kSteps; calls after_step after each.
  template <class AfterStep>
  void train(AfterStep&& after_step) {
    DistributedOptimizer distributed(optimizer, network->named_parameters());
    while (step < kSteps) {
      const int index = static_cast<int>(step % 50);
      distributed.zero_grad();
      loss_of(network, part(inputs_of(index), *context()), part(targets_of(index), *context())).backward();
      distributed.step();
      ++step;
      after_step();
    }
  }

  std::string bits() const {
    std::string out;
    for (const auto& parameter : network->parameters()) {
      const auto* const values = parameter.const_data_ptr<double>();
      for (std::int64_t i = 0; i < parameter.numel(); ++i) {
        char word[32];
        std::snprintf(word, sizeof word, "%a ", values[i]);
        out += word;
      }
    }
    return out;
  }

  std::string saved() {
    torch::serialize::OutputArchive archive, model, state;
    network->save(model);
    optimizer.save(state);
    archive.write("model", model);
    archive.write("optimizer", state);
    archive.write("step", c10::IValue(step));
    std::ostringstream out;
    archive.save_to(out);
    return out.str();
  }

  void load(const std::string& bytes) {
    torch::serialize::InputArchive archive, model, state;
    std::istringstream in(bytes);
    archive.load_from(in);
    archive.read("model", model);
    archive.read("optimizer", state);
    network->load(model);
    optimizer.load(state);
    c10::IValue value;
    archive.read("step", value);
    step = value.toInt();
  }
};

void write_file(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

HVD_PROCESS_CASE(trains_on) {
  try {
    at::set_num_threads(1);
    init();
    const auto& arguments = process_arguments();
    if (std::find(arguments.begin(), arguments.end(), "fork") != arguments.end() && ::fork() == 0) {
      while (true) ::pause();
    }
    if (process_rank() == 1 && std::find(arguments.begin(), arguments.end(), "dies early") != arguments.end())
      ::kill(::getpid(), SIGKILL);
    Run run;
    State state(*run.network, run.optimizer);
    state.track("step", run.step);
    std::int64_t done = 0;
    std::int64_t lost_steps = 0;
    std::int64_t resumed = 0;
    run_elastic(state, [&] {
      const bool is_after_loss = done > 0;
      if (is_after_loss && rank() == 0) write_file(process_folder() + text("/met.", size()), run.saved());
      lost_steps = std::max(lost_steps, done - run.step);
      resumed = 0;
      run.train([&] {
        if (is_after_loss && resumed == 0) {
          resumed = monotonic_ns();
          process_reached("training again");
        }
        done = run.step;
        state.commit();
        if (done == 3) process_reached("training");
      });
    });
    const auto file = [](const char* name) {
      return process_folder() + text('/', name, '.', process_rank());
    };
    write_file(file("final"), text("rank ", rank(), " of ", size(), ": ", run.bits()));
    write_file(file("lost_steps"), std::to_string(lost_steps));
    if (resumed != 0) write_file(file("resumed"), std::to_string(resumed));
    shutdown();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "case failed on rank %d: %s\n", process_rank(), error.what());
    return 1;
  }
}

HVD_PROCESS_CASE(trains_afresh) {
  at::set_num_threads(1);
  init();
  std::ifstream file(process_arguments().at(0), std::ios::binary);
  std::stringstream bytes;
  bytes << file.rdbuf();
  Run run;
  run.load(bytes.str());
  run.train([] {});
  if (rank() == 0) write_file(process_folder() + "/final", run.bits());
  shutdown();
  return 0;
}

}  // namespace

std::string final_bits_of_fresh_run(int ranks, const std::string& state) {
  const std::string path = text(testing::TempDir(), "/hvd-test-elastic-", ::getpid());
  write_file(path, state);
  ProcessOptions options;
  options.case_arguments = {path};
  const ProcessResult result = run_processes(ranks, "trains_afresh", options);
  std::remove(path.c_str());
  EXPECT_TRUE(result.is_clean()) << result.describe();
  const auto found = result.files.find("final");
  return found == result.files.end() ? "" : found->second;
}

}  // namespace hvd
