// Signals, descriptors and limits of hvdrun's own processes,
// and how a rank gets back what hvdrun itself was given.
#pragma once

#include <sys/resource.h>

#include <csignal>
#include <iterator>

namespace hvd::launcher {

class ProcessSetup {
 public:
  // Once, first thing in main, before any thread. Opens /dev/null for standard
  // descriptors that are closed; blocks the signals of watched(); ignores SIGPIPE,
  // SIGXFSZ, SIGTTIN and SIGTTOU; raises the limit of open files as far as allowed.
  static ProcessSetup prepare();

  // The signals that hvdrun reads from a signalfd: those it passes on to ranks, and SIGCHLD. Signals that it
  // was started with ignored (nohup) are not among them.
  const sigset_t& watched() const { return watched_; }

  // In the child before execve: what hvdrun's caller had set up. Async-signal-safe.
  void restore() const;

 private:
  static constexpr int kChanged[] = {SIGPIPE, SIGXFSZ, SIGTTIN, SIGTTOU, SIGCHLD};
  sigset_t watched_{};
  sigset_t mask_{};
  struct sigaction actions_[std::size(kChanged)]{};
  rlimit open_files_{};
};

// Shows the process as `title` in ps, pkill and /proc/PID/cmdline: a pkill of hvdrun, or of the program's
// name, must not hit both the front process and the supervisor. `argv` is main's; its memory is overwritten.
void set_process_title(const char* title, int argc, char** argv);

}  // namespace hvd::launcher
