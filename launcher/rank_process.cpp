#include "launcher/rank_process.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>

#include "horovod_cpp/base/text.h"
#include "launcher/job.h"

namespace hvd::launcher {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> result;
  for (const auto& word : words) result.push_back(const_cast<char*>(word.c_str()));
  result.push_back(nullptr);
  return result;
}

struct CpuSetFree {
  void operator()(cpu_set_t* set) const { CPU_FREE(set); }
};

}  // namespace

Result<pid_t> start_rank(const RankStart& start, const ProcessSetup& setup) {
  // Everything that allocates comes before fork.
  const auto arguments = pointers(start.arguments);
  const auto environment = pointers(start.environment);
  std::unique_ptr<cpu_set_t, CpuSetFree> cpus;
  std::size_t cpus_bytes = 0;
  if (!start.cpus.empty()) {
    const int most = *std::max_element(start.cpus.begin(), start.cpus.end()) + 1;
    cpus.reset(CPU_ALLOC(most));
    cpus_bytes = CPU_ALLOC_SIZE(most);
    CPU_ZERO_S(cpus_bytes, cpus.get());
    for (const int cpu : start.cpus) CPU_SET_S(static_cast<std::size_t>(cpu), cpus_bytes, cpus.get());
  }
  const pid_t parent = getpid();

  const pid_t child = fork();
  if (child < 0) {
    return Status::aborted(
        text("rank ", start.rank, " cannot be started: ", std::strerror(errno),
             errno == EAGAIN ? " (too many processes: see ulimit -u, and pids.max of the container)" : ""));
  }
  if (child > 0) {
    setpgid(child, child);  // also here, so that the group exists when the first signal is passed on
    return child;
  }

  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(kExitSignalBase + SIGKILL);  // the parent died before prctl
  dup2(start.stdin_fd, STDIN_FILENO);
  dup2(start.stdout_fd, STDOUT_FILENO);
  dup2(start.stderr_fd, STDERR_FILENO);
  if (cpus != nullptr) sched_setaffinity(0, cpus_bytes, cpus.get());
  fcntl(start.job_key_fd, F_SETFD, 0);
  setup.restore();
  execve(start.program.c_str(), arguments.data(), environment.data());
  const StartFailure failure{start.rank, errno};
  [[maybe_unused]] const ssize_t written = write(start.failure_fd, &failure, sizeof failure);
  _exit(kExitNotExecutable);
}

}  // namespace hvd::launcher
