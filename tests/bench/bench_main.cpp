// hvd_bench: see options.cpp for what it does, conductor.h for how.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>

#include "horovod_cpp/base/text.h"
#include "tests/bench/options.h"
#include "tests/bench/report.h"
#include "tests/bench/scratch_folder.h"

namespace hvd::bench {
namespace {

void print_peers(const Options& options) {
  std::set<std::string> peers;
  for (const auto& key : options.plan.contenders) {
    if (const char* const peer = find_contender(key)->peer; peer != nullptr) peers.insert(peer);
  }
  for (const auto& peer : peers) std::printf("%s\n", peer.c_str());
}

std::string command_line(int argc, char** argv) {
  std::string words = "./dev bench";
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--peers" || word == "--python" || word == "--sources") {
      ++i;
    } else {
      words += " " + word;
    }
  }
  return words;
}

Status write_file(const std::string& file, const std::string& content) {
  if (file.empty()) return {};
  std::ofstream out(file);
  out << content << std::flush;
  return out ? Status() : Status::invalid_argument("cannot write " + file);
}

Status run(const Options& options, Outcome& outcome) {
  auto scratch = ScratchFolder::create();
  HVD_RETURN_IF_ERROR(scratch.status());
  Surroundings around;
  around.bin = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  around.sources = options.sources;
  around.python = options.python;
  around.peers = options.peers;
  around.scratch = scratch.value().path();
  around.cores = outcome.machine.cores;
  Conductor conductor(options.plan, around,
                      [](const std::string& line) { std::fprintf(stderr, "bench: %s\n", line.c_str()); });
  HVD_RETURN_IF_ERROR(conductor.run(outcome.cells));
  std::printf("%s", as_table(outcome).c_str());
  HVD_RETURN_IF_ERROR(write_file(options.json, as_json(outcome)));
  return write_file(options.html, as_html(outcome));
}

int run_with_arguments(int argc, char** argv) {
  const Options options = read_options(argc, argv);
  if (options.prints_peers) {
    print_peers(options);
    return 0;
  }
  prepare_for_jobs();
  Outcome outcome{.machine = machine_facts(),
                  .command = command_line(argc, argv),
                  .rounds = options.plan.rounds,
                  .warm_up = options.plan.warm_up,
                  .seed = options.seed};
  const Status status = run(options, outcome);
  if (interrupted_by() != 0) {
    std::fprintf(stderr, "bench: %s\n", status.message().c_str());
    return 128 + interrupted_by();
  }
  if (!status.is_ok()) {
    std::fprintf(stderr, "bench: %s\n", status.message().c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace hvd::bench

int main(int argc, char** argv) { return hvd::bench::run_with_arguments(argc, argv); }
