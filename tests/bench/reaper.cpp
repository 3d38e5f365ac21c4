#include "tests/bench/reaper.h"

#include <sys/prctl.h>
#include <sys/wait.h>

#include <csignal>
#include <map>

#include "horovod_cpp/base/text.h"
#include "tests/bench/job.h"

namespace hvd::bench {
namespace {

volatile std::sig_atomic_t interrupting_signal = 0;

std::map<pid_t, int>& ends() {
  static std::map<pid_t, int> of_children;
  return of_children;
}

void handle(int signal) {
  if (signal != SIGCHLD) interrupting_signal = signal;
}

constexpr int kInterrupting[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

}  // namespace

void prepare_for_jobs() {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  struct sigaction action{};
  action.sa_handler = handle;  // without SA_RESTART: waits return
  ::sigaction(SIGCHLD, &action, nullptr);
  for (const int signal : kInterrupting) ::sigaction(signal, &action, nullptr);
}

int interrupted_by() { return interrupting_signal; }

void reset_signals() {
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  ::sigaction(SIGCHLD, &action, nullptr);
  for (const int signal : kInterrupting) ::sigaction(signal, &action, nullptr);
}

void reap() {
  int status = 0;
  for (pid_t pid = ::waitpid(-1, &status, WNOHANG); pid > 0; pid = ::waitpid(-1, &status, WNOHANG))
    ends()[pid] = status;
}

std::optional<std::string> how_ended(pid_t pid) {
  const auto found = ends().find(pid);
  if (found == ends().end()) return std::nullopt;
  const int status = found->second;
  return WIFSIGNALED(status) ? text("signal ", WTERMSIG(status)) : text("exit code ", WEXITSTATUS(status));
}

}  // namespace hvd::bench
