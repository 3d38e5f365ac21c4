#include "tests/bench/contender_table.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "horovod_cpp/base/text.h"

namespace hvd::bench {
namespace {

using Words = std::vector<std::string>;

StartPlan plan_of(Words command, int ranks) {
  StartPlan plan;
  plan.command = std::move(command);
  plan.processes = ranks;
  return plan;
}

// Open MPI binds up to two ranks to cores, more than that to sockets. Cores are faster where there are enough.
StartPlan open_mpi(const std::string& mpirun, const std::string& program, int ranks,
                   const Surroundings& around) {
  const char* const binding = ranks <= around.cores ? "core" : "none";
  StartPlan plan = plan_of(
      {mpirun, "-np", std::to_string(ranks), "--bind-to", binding, "--oversubscribe", program}, ranks);
  plan.environment = {{"OMPI_ALLOW_RUN_AS_ROOT", "1"},
                      {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
                      // What it would leave in /dev/shm if it were killed.
                      {"OMPI_MCA_btl_vader_backing_directory", around.scratch},
                      {"OMPI_MCA_btl_sm_backing_directory", around.scratch}};
  return plan;
}

StartPlan hvdrun(const Surroundings& around, Words program, int ranks) {
  Words command{around.bin + "/hvdrun", "-np", std::to_string(ranks), "--no-prefix"};
  command.insert(command.end(), program.begin(), program.end());
  return plan_of(std::move(command), ranks);
}

StartPlan without_launcher(Words command, int ranks) {
  StartPlan plan = plan_of(std::move(command), ranks);
  plan.has_launcher = false;
  return plan;
}

StartPlan python(const Surroundings& around, Words program, int ranks) {
  Words command{around.python, text(around.sources, "/tests/bench/peers/", program.front())};
  command.insert(command.end(), program.begin() + 1, program.end());
  StartPlan plan = without_launcher(std::move(command), ranks);
  plan.environment = {{"HVDBENCH_LIBRARY", around.bin + "/../lib/libhvd_bench_rank.so"},
                      {"PYTHONDONTWRITEBYTECODE", "1"}};
  return plan;
}

// Why a peer is not there: what its installation said last.
std::string reason_of_absence(const Surroundings& around, const std::string& peer) {
  if (around.peers.empty())
    return "not installed: ./dev bench installs peers, hvd_bench alone wants --peers DIR";
  std::ifstream file(text(around.peers, "/", peer, ".reason"));
  std::string reason;
  if (std::getline(file, reason)) return reason;
  return text("not installed in ", around.peers);
}

}  // namespace

const std::vector<ContenderRow>& contender_table() {
  static const std::vector<ContenderRow> rows{
      {"openmpi", "Debian's Open MPI: one MPI_Allreduce of everything", nullptr},
      {"gloo", "torch c10d all_reduce over Gloo", nullptr},
      {"ddp", "torch DistributedDataParallel over Gloo", nullptr},
      {"session", "horovod_cpp: Session, every tensor averaged, ordinary memory", nullptr},
      {"epochs", "horovod_cpp: the steady state, gradients in memory that ranks share", nullptr},
      {"floor", "no communication: a = b = a + b with all cores", nullptr},
  };
  return rows;
}

const ContenderRow* find_contender(const std::string& key) {
  const auto& rows = contender_table();
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const ContenderRow& row) { return key == row.key; });
  return found != rows.end() ? &*found : nullptr;
}

Result<StartPlan> start_plan(const ContenderRow& row, int ranks, const Surroundings& around) {
  const std::string key = row.key;
  StartPlan plan;
  std::string needed;  // whose absence says that it is not installed
  if (key == "openmpi") {
    needed = around.bin + "/hvd_bench_mpi";
    plan = open_mpi("mpirun", needed, ranks, around);
  } else if (key == "session" || key == "epochs") {
    needed = around.bin + "/hvd_bench_own";
    plan = hvdrun(around, {needed, key}, ranks);
  } else if (key == "gloo" || key == "ddp") {
    needed = around.python;
    plan = python(around, {"gloo.py", key == "gloo" ? "c10d" : "ddp"}, ranks);
  } else if (key == "floor") {
    needed = around.bin + "/hvd_bench_floor";
    plan = without_launcher({needed}, std::max(ranks, around.cores));
    plan.environment = {{"HVDBENCH_REDUCERS", std::to_string(ranks)}};
  }
  if (!std::filesystem::exists(needed)) {
    if (needed == around.python) return Status::unavailable("no Python with torch: ./dev bench knows one");
    return Status::unavailable(row.peer != nullptr ? reason_of_absence(around, row.peer)
                                                   : text("not built: there is no ", needed));
  }
  plan.environment.emplace_back("TMPDIR", around.scratch);
  return plan;
}

}  // namespace hvd::bench
