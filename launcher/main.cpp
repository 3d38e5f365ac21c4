// hvdrun: starts the ranks of a job. See README.md for who does what.

#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "horovod_cpp/base/text.h"
#include "launcher/command_line.h"
#include "launcher/cpu_topology.h"
#include "launcher/front.h"
#include "launcher/horovod_names.h"
#include "launcher/host_list.h"
#include "launcher/machine_limits.h"
#include "launcher/program_lookup.h"
#include "launcher/running_jobs.h"
#include "launcher/timeline_merge.h"

namespace hvd::launcher {
namespace {

std::string environment_value(const char* name, const char* fallback) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : fallback;
}

std::string own_hostname() {
  char name[HOST_NAME_MAX + 1] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

Status check_hostfile(const std::string& name, int num_proc) {
  std::ifstream file(name);
  std::stringstream content;
  if (!(content << file.rdbuf()))
    return Status::invalid_argument(text("--hostfile ", name, ": the file cannot be read, or is empty"));
  const auto hosts = parse_hostfile(content.str());
  return hosts.is_ok() ? check_hosts(hosts.value(), own_hostname(), num_proc, "--hostfile") : hosts.status();
}

std::filesystem::path own_folder() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
}

// The launcher knows no backend; a companion beside it does.
int check_build(const ProcessSetup& setup) {
  const auto companion = own_folder() / "hvd_check_build";
  const std::string path = companion.string();
  char name[] = "hvd_check_build";
  char* const arguments[] = {name, nullptr};
  setup.restore();
  execv(path.c_str(), arguments);
  const int reason = errno;
  std::cerr << "hvdrun: --check-build asks " << path << ", which cannot be run: " << std::strerror(reason)
            << "; build the target hvd_check_build" << std::endl;
  return reason == ENOENT ? kExitNotFound : kExitNotExecutable;
}

int dump(int process) {
  const auto asked = ask_for_pictures(process);
  if (!asked.is_ok()) {
    std::cerr << "hvdrun: " << asked.status().message() << std::endl;
    return 1;
  }
  std::cout << asked.value() << std::endl;
  return 0;
}

// What ranks are told to write, and hvdrun puts together. They may change their folder: the path is absolute.
std::string timeline_of(JobOptions& options) {
  std::string file = options.timeline;
  if (file.empty())
    file = environment_value("HVD_TIMELINE", environment_value("HOROVOD_TIMELINE", "").c_str());
  if (file.empty() || file == "DYNAMIC") return {};
  std::error_code error;
  file = std::filesystem::absolute(file, error).string();
  options.settings.emplace_back("HVD_TIMELINE", file);
  remove_timeline_parts(file, options.num_proc);
  return file;
}

int merge(const std::string& file, int ranks) {
  const auto merged = merge_timeline(file, ranks);
  if (!merged.is_ok()) {
    std::cerr << "hvdrun: " << merged.message() << std::endl;
    return 1;
  }
  return 0;
}

int run(int argc, char** argv) {
  const ProcessSetup setup = ProcessSetup::prepare();
  auto line = parse_command_line({argv + 1, argv + argc}, own_hostname());
  if (!line.is_ok()) {
    std::cerr << "hvdrun: " << line.status().message() << std::endl;
    return kExitUsage;
  }
  if (line->action == CommandLine::Action::print) {
    std::cout << line->message << std::flush;
    return 0;
  }
  if (line->action == CommandLine::Action::check_build) return check_build(setup);
  if (line->action == CommandLine::Action::dump) return dump(line->dump_process);
  if (line->action == CommandLine::Action::merge_timeline) return merge(line->timeline, 0);

  for (const std::string& remark : line->remarks) std::cerr << "hvdrun: " << remark << std::endl;
  if (!line->hostfile.empty()) {
    if (const Status good = check_hostfile(line->hostfile, line->job.num_proc); !good.is_ok()) {
      std::cerr << "hvdrun: " << good.message() << std::endl;
      return kExitUsage;
    }
  }

  JobPlan plan;
  plan.options = std::move(line->job);
  const auto program =
      find_program(plan.options.command.front(), environment_value("PATH", "/usr/local/bin:/usr/bin:/bin"));
  if (program.exit_status != 0) {
    std::cerr << "hvdrun: " << program.message << std::endl;
    return program.exit_status;
  }
  plan.program = program.path;
  if (const Status enough = check_machine_limits(plan.options, read_machine_limits()); !enough.is_ok()) {
    std::cerr << "hvdrun: " << enough.message() << std::endl;
    return kExitUsage;
  }
  if (plan.options.as_horovod) {
    const auto names = find_horovod_names(own_folder());
    if (!names.is_ok()) {
      std::cerr << "hvdrun: " << names.status().message() << std::endl;
      return kExitUsage;
    }
    plan.options.settings.emplace_back("PYTHONPATH",
                                       python_path_from(names.value(), environment_value("PYTHONPATH", "")));
  }
  const std::string omp_threads = environment_value("OMP_NUM_THREADS", "");
  plan.cores = plan_cores(allowed_cpus(), plan.options.num_proc, plan.options.bind, omp_threads);
  for (char** entry = environ; *entry != nullptr; ++entry) plan.environment.emplace_back(*entry);
  const std::string timeline = timeline_of(plan.options);
  const pid_t front = getpid();
  const int status = run_job(plan, setup, argc, argv);
  if (getpid() != front) return status;  // the supervisor comes back from there too
  // Also of a job that failed: then it is wanted most.
  if (!timeline.empty() && plan.options.num_proc > 1) merge(timeline, plan.options.num_proc);
  return status;
}

}  // namespace
}  // namespace hvd::launcher

int main(int argc, char** argv) {
  if (argc < 1) return hvd::launcher::kExitUsage;  // execve allows it
  return hvd::launcher::run(argc, argv);
}
