#include "launcher/front.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>
#include <optional>
#include <utility>
#include <vector>

#include "horovod_cpp/base/text.h"
#include "launcher/descendants.h"
#include "launcher/nonblocking.h"
#include "launcher/signal_name.h"
#include "launcher/stdin_relay.h"
#include "launcher/supervisor.h"

namespace hvd::launcher {
namespace {

constexpr std::chrono::seconds kGiveUpKilling{10};

int fail(const std::string& what) {
  std::cerr << "hvdrun: " << what << ": " << std::strerror(errno) << std::endl;
  return kExitUsage;
}

// As the shell's ctrl-Z expects it. (Without a shell that could continue it, the kernel lets it run on.)
void stop_here() {
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTSTP);
  raise(SIGTSTP);
  sigprocmask(SIG_UNBLOCK, &stop, nullptr);
  sigprocmask(SIG_BLOCK, &stop, nullptr);
}

class Front {
 public:
  Front(pid_t supervisor, UniqueFd control, UniqueFd signals, StdinRelay relay)
      : supervisor_(supervisor),
        control_(std::move(control)),
        signals_(std::move(signals)),
        relay_(std::move(relay)) {}

  // The wait status of the supervisor.
  int wait_for_supervisor() {
    while (true) {
      if (const auto status = reap()) return *status;
      std::vector<pollfd> polls{{signals_.get(), POLLIN, 0}};
      relay_.add_to(polls);
      if (poll(polls.data(), polls.size(), relay_.poll_timeout_ms()) <= 0) continue;
      if (polls[0].revents != 0) read_signals();
      relay_.handle(polls[1]);
    }
  }

 private:
  std::optional<int> reap() {
    int status = 0;
    pid_t pid = 0;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0 || (pid < 0 && errno == EINTR)) {
      if (pid == supervisor_) return status;
    }
    return std::nullopt;
  }

  void read_signals() {
    signalfd_siginfo info{};
    while (read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      if (info.ssi_signo == SIGCHLD) continue;
      const auto signal = static_cast<unsigned char>(info.ssi_signo);
      [[maybe_unused]] const ssize_t written = write(control_.get(), &signal, 1);
      if (signal == SIGTSTP) stop_here();
    }
  }

  pid_t supervisor_;
  UniqueFd control_;
  UniqueFd signals_;
  StdinRelay relay_;
};

int supervisor_process(const JobPlan& plan, const ProcessSetup& setup, SupervisorEnds ends, pid_t front,
                       int argc, char** argv) {
  // A process group of its own: what the terminal or a kill sends to hvdrun's group comes once, through the
  // front process, and a SIGKILL to that group does not hit both.
  setpgid(0, 0);
  // If the front process dies, the control pipe ends;
  // the signal only wakes a supervisor that somebody has stopped.
  prctl(PR_SET_PDEATHSIG, SIGCONT);
  if (getppid() != front) return 1;
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return fail("prctl");
  set_process_title("hvd-supervisor", argc, argv);
  return supervise(plan, setup, std::move(ends));
}

}  // namespace

int run_job(const JobPlan& plan, const ProcessSetup& setup, int argc, char** argv) {
  // `exec hvdrun` keeps a shell's background jobs as children: they are none of our business.
  const auto strangers = descendants_of(getpid(), list_processes());
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return fail("prctl");

  Pipe control = make_pipe();
  UniqueFd signals(signalfd(-1, &setup.watched(), SFD_CLOEXEC | SFD_NONBLOCK));
  Pipe typed;
  const bool relays = isatty(STDIN_FILENO) != 0;
  if (relays) typed = make_pipe();
  if (!control.is_open() || !signals.is_open() || (relays && !typed.is_open()))
    return fail("no descriptors left");
  set_nonblocking(control.write.get());

  const pid_t front = getpid();
  const pid_t supervisor = fork();
  if (supervisor < 0) return fail("the supervisor process cannot be started");
  if (supervisor == 0) {
    control.write.reset();
    signals.reset();
    typed.write.reset();
    return supervisor_process(plan, setup, {std::move(control.read), std::move(typed.read)}, front, argc,
                              argv);
  }

  control.read.reset();
  typed.read.reset();
  StdinRelay relay;
  if (relays) {
    relay = StdinRelay(STDIN_FILENO, std::move(typed.write));
  } else {
    // Only rank 0 is to hold its standard input.
    const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    if (null.is_open()) dup2(null.get(), STDIN_FILENO);
  }
  const int status =
      Front(supervisor, std::move(control.write), std::move(signals), std::move(relay)).wait_for_supervisor();
  const bool all_gone = kill_descendants(strangers, Deadline::after(kGiveUpKilling));
  if (WIFSIGNALED(status)) {
    std::cerr << "hvdrun: its supervisor process (pid " << supervisor << ") was killed by "
              << name_of_signal(WTERMSIG(status)) << "; all ranks have been killed" << std::endl;
  }
  if (!all_gone) std::cerr << "hvdrun: processes of the job cannot be killed" << std::endl;
  return WIFSIGNALED(status) ? kExitSignalBase + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace hvd::launcher
