#include "tests/bench/options.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "horovod_cpp/base/text.h"

namespace hvd::bench {
namespace {

using Words = std::vector<std::string>;

struct Size {
  Words workloads;
  std::vector<int> ranks;
  int rounds;
};

const Size kQuick{{"single:256", "single:65536", "resnet50", "mlp"}, {2}, 4};
const Size kUsual{
    {"single:256", "single:65536", "single:4194304", "resnet50", "gpt2", "many-small", "mlp", "char_gpt"},
    {2},
    20};
const Size kFull{{"sweep", "resnet50", "gpt2", "many-small", "mlp", "char_gpt"}, {2, 4, 8}, 20};

std::string list_of_contenders() {
  std::string lines = "Contenders\n";
  for (const auto& row : contender_table()) {
    std::string key = row.key;
    key.resize(std::max<std::size_t>(key.size(), 14), ' ');
    lines += text("  ", key, row.what, '\n');
  }
  return lines;
}

std::string check_file(const std::string& file) {
  const auto folder = std::filesystem::path(file).parent_path();
  if (!folder.empty() && !std::filesystem::is_directory(folder))
    return text("there is no folder ", folder.string());
  // Appending nothing: what is there stays until there is something to write.
  if (!std::ofstream(file, std::ios::app)) return text("cannot write ", file);
  return {};
}

CLI::Validator can_be_written() {
  return {[](std::string& file) { return check_file(file); }, "FILE"};
}

CLI::Validator is_a_workload() {
  return {[](std::string& word) { return workload_names({word}).status().message(); }, "NAME"};
}

CLI::Validator is_a_contender() {
  return {[](std::string& word) {
            if (find_contender(word) != nullptr) return std::string();
            std::string known;
            for (const auto& row : contender_table()) known += text(known.empty() ? "" : ", ", row.key);
            return text("contender '", word, "': expected some of ", known);
          },
          "KEY"};
}

}  // namespace

Options read_options(int argc, char** argv) {
  CLI::App app(
      "Times ways to average gradients against each other, in one run and in turns. Every result is "
      "verified; contenders that cannot be\n"
      "started are named with the reason. tests/bench/README.md has the method.\n",
      "./dev bench");
  app.set_help_flag("-h,--help", "Print this and exit");
  Options options;
  bool is_quick = false;
  bool is_full = false;
  Words workloads;
  std::vector<int> ranks;
  int rounds = 0;
  auto* const quick =
      app.add_flag("--quick", is_quick,
                   "About a minute on an idle machine: two sizes, resnet50 and mlp, 2 ranks, 4 rounds");
  app.add_flag("--full", is_full, "Everything, with 2, 4 and 8 ranks, 20 rounds: hours")->excludes(quick);
  app.add_option("--contenders", options.plan.contenders, "Which, separated by commas; all if left out")
      ->delimiter(',')
      ->check(is_a_contender());
  app.add_option(
         "--workloads", workloads,
         "Which: sweep (1 KiB to 256 MiB), resnet50, gpt2, many-small, mlp, char_gpt, single:ELEMENTS")
      ->delimiter(',')
      ->check(is_a_workload());
  app.add_option("--ranks", ranks, "How many, separated by commas")
      ->delimiter(',')
      ->check(CLI::Range(2, kMostRanks));
  app.add_option("--rounds", rounds, "In each, every contender has one turn")->check(CLI::Range(2, 100'000));
  app.add_option("--warm-up", options.plan.warm_up, "Rounds before those")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  app.add_option("--patience", options.plan.patience, "Seconds that a contender has for one turn")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Of the bootstrap")->capture_default_str();
  app.add_option("--json", options.json, "Write every time to this file")->check(can_be_written());
  app.add_option("--html", options.html, "Write a page with plots to this file")->check(can_be_written());
  app.add_option("--peers", options.peers, "Where peers are installed (./dev bench says it)")->group("");
  app.add_option("--python", options.python, "That has torch (./dev bench says it)")->group("");
  app.add_option("--sources", options.sources, "This repository (./dev bench says it)")->group("");
  app.add_flag("--print-peers", options.prints_peers, "Print what must be installed, and exit")->group("");
  app.footer(list_of_contenders() +
             "\nExamples\n"
             "  ./dev bench --quick\n"
             "  ./dev bench --contenders openmpi,session,floor --workloads resnet50 --rounds 30\n"
             "  ./dev bench --workloads sweep --ranks 2,4 --json sweep.json --html sweep.html\n");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : 2);
  }
  const Size& size = is_quick ? kQuick : is_full ? kFull : kUsual;
  options.plan.workloads = workload_names(workloads.empty() ? size.workloads : workloads).value();
  options.plan.ranks = ranks.empty() ? size.ranks : ranks;
  options.plan.rounds = rounds > 0 ? rounds : size.rounds;
  if (is_quick) options.plan.warm_up = 1;
  if (options.plan.contenders.empty()) {
    for (const auto& row : contender_table()) options.plan.contenders.emplace_back(row.key);
  }
  return options;
}

}  // namespace hvd::bench
