// Times ways to reduce the gradients of a training step against each other,
// in one run and in interleaved rounds:
//
//   mpirun -np 2 build/bin/hvd_bench_allreduce --json result.json
//
// Every repetition: memory rewritten, ranks met at a barrier that sleeps, then run; its time is the last
// rank's finish minus the last rank's start; the result is verified. tests/bench/README.md has the method.
#include <mpi.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <random>

#include "horovod_cpp/base/text.h"
#include "tests/bench/board.h"
#include "tests/bench/contender.h"
#include "tests/bench/report.h"

namespace hvd::bench {
namespace {

// In the order of the table; the first is what the others are compared with.
const std::vector<std::pair<std::string, ContenderFactory>> kContenders{{"mpi", make_mpi_allreduce},
                                                                        {"session", make_session},
                                                                        {"epochs", make_session_epochs},
                                                                        {"floor", make_memory_floor}};

struct Options {
  std::string workload = "resnet50";
  std::vector<std::string> contenders;
  int rounds = 20;
  int warm_up = 3;
  std::uint64_t seed = 0;
  std::string json;
};

// Zeroed memory that all ranks of this host map.
Board* share_board(Place place) {
  void* memory = nullptr;
  MPI_Win window = MPI_WIN_NULL;
  const MPI_Aint bytes = place.rank == 0 ? static_cast<MPI_Aint>(sizeof(Board)) : 0;
  MPI_Win_allocate_shared(bytes, 1, MPI_INFO_NULL, MPI_COMM_WORLD, static_cast<void*>(&memory), &window);
  MPI_Aint size = 0;
  int unit = 0;
  MPI_Win_shared_query(window, 0, &size, &unit, static_cast<void*>(&memory));
  if (place.rank == 0) std::fill_n(static_cast<std::byte*>(memory), sizeof(Board), std::byte{0});
  MPI_Barrier(MPI_COMM_WORLD);
  return static_cast<Board*>(memory);
}

// Seconds of one repetition; the same on every rank.
Result<double> repeat(Contender& contender, int round, Place place, Board& board) {
  const auto rank = static_cast<std::size_t>(place.rank);
  contender.fill(round);
  const Status apart = Status::aborted("the other ranks did not come to the barrier");
  if (!board.meet(place.size)) return apart;
  board.started[rank] = Board::Clock::now();
  const Status ran = contender.run();
  board.finished[rank] = Board::Clock::now();
  HVD_RETURN_IF_ERROR(ran);
  if (!board.meet(place.size)) return apart;
  const auto last = [&](const auto& times) {
    return *std::max_element(times.begin(), times.begin() + place.size);
  };
  const double seconds = std::chrono::duration<double>(last(board.finished) - last(board.started)).count();
  HVD_RETURN_IF_ERROR(contender.verify(round).with_prefix(contender.name() + ": "));
  // Nobody may write the next times while others read these.
  if (!board.meet(place.size)) return apart;
  return seconds;
}

Status measure(const Options& options, Place place, Board& board, Outcome& outcome) {
  std::vector<std::unique_ptr<Contender>> contenders;
  for (const auto& [key, make] : kContenders) {
    const auto& chosen = options.contenders;
    if (!chosen.empty() && std::find(chosen.begin(), chosen.end(), key) == chosen.end()) continue;
    auto contender = make(outcome.workload, place);
    HVD_RETURN_IF_ERROR(contender.status().with_prefix(key + ": "));
    contenders.push_back(std::move(contender).value());
    outcome.rows.push_back({contenders.back()->name(), {}});
  }
  for (int round = -options.warm_up; round < options.rounds; ++round) {
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      const auto seconds = repeat(*contenders[i], round + options.warm_up, place, board);
      HVD_RETURN_IF_ERROR(seconds.status());
      if (round >= 0) outcome.rows[i].seconds.push_back(seconds.value());
    }
  }
  return {};
}

Status run(const Options& options, Place place) {
  if (place.size > kMostRanks) return Status::invalid_argument(text("at most ", kMostRanks, " ranks"));
  auto workload = workload_named(options.workload);
  HVD_RETURN_IF_ERROR(workload.status());
  char version[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(version, &length);
  const std::string mpi(version, static_cast<std::size_t>(length));
  Outcome outcome{
      mpi.substr(0, mpi.find_first_of(",\n")), std::move(workload).value(), place.size, options.seed, {}};

  Board& board = *share_board(place);
  if (const Status status = measure(options, place, board, outcome); !status.is_ok()) {
    board.fail();
    return status;
  }
  if (place.rank != 0) return {};
  std::printf("%s", as_table(outcome).c_str());
  if (!options.json.empty() && !(std::ofstream(options.json) << as_json(outcome))) {
    return Status::invalid_argument("cannot write " + options.json);
  }
  return {};
}

int run_with_arguments(int argc, char** argv) {
  CLI::App app(
      "All-reduce of a training step's gradients: raw MPI, horovod_cpp and the memory's floor, interleaved. "
      "Start with mpirun.");
  Options options;
  std::vector<std::string> keys;
  for (const auto& [key, make] : kContenders) keys.push_back(key);
  app.add_option("--workload", options.workload, "resnet50, many-small or single:ELEMENTS")
      ->capture_default_str();
  app.add_option("--contenders", options.contenders, "Which to run; default: all")
      ->delimiter(',')
      ->check(CLI::IsMember(keys));
  app.add_option("--rounds", options.rounds, "Measured rounds")
      ->check(CLI::Range(2, 1'000'000))
      ->capture_default_str();
  app.add_option("--warm-up", options.warm_up, "Rounds before them")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Of the bootstrap")->capture_default_str();
  app.add_option("--json", options.json, "Write every time to this file as well");
  CLI11_PARSE(app, argc, argv);

  int level = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
  Place place;
  MPI_Comm_rank(MPI_COMM_WORLD, &place.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &place.size);
  const Status status = run(options, place);
  if (!status.is_ok()) {
    std::fprintf(stderr, "rank %d: %s\n", place.rank, status.message().c_str());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return 0;
}

}  // namespace
}  // namespace hvd::bench

int main(int argc, char** argv) { return hvd::bench::run_with_arguments(argc, argv); }
