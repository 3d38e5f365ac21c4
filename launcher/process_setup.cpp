#include "launcher/process_setup.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

namespace hvd::launcher {
namespace {
constexpr int kPassedOn[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT};
}

ProcessSetup ProcessSetup::prepare() {
  // Otherwise a pipe of ours would become somebody's standard output.
  while (true) {
    const int fd = open("/dev/null", O_RDWR);
    if (fd < 0) break;
    if (fd > STDERR_FILENO) {
      close(fd);
      break;
    }
  }

  ProcessSetup setup;
  sigemptyset(&setup.watched_);
  sigaddset(&setup.watched_, SIGCHLD);
  for (const int signal : kPassedOn) {
    struct sigaction action{};
    sigaction(signal, nullptr, &action);
    if (action.sa_handler != SIG_IGN) sigaddset(&setup.watched_, signal);
  }
  sigprocmask(SIG_BLOCK, &setup.watched_, &setup.mask_);
  for (std::size_t i = 0; i < std::size(kChanged); ++i) {
    struct sigaction action{};
    action.sa_handler = kChanged[i] == SIGCHLD ? SIG_DFL : SIG_IGN;
    sigaction(kChanged[i], &action, &setup.actions_[i]);
  }

  getrlimit(RLIMIT_NOFILE, &setup.open_files_);
  rlimit most = setup.open_files_;
  most.rlim_cur = most.rlim_max;
  setrlimit(RLIMIT_NOFILE, &most);
  return setup;
}

void ProcessSetup::restore() const {
  for (std::size_t i = 0; i < std::size(kChanged); ++i) sigaction(kChanged[i], &actions_[i], nullptr);
  setrlimit(RLIMIT_NOFILE, &open_files_);
  sigprocmask(SIG_SETMASK, &mask_, nullptr);
}

void set_process_title(const char* title, int argc, char** argv) {
  prctl(PR_SET_NAME, title);
  // The kernel lays the arguments out one after the other; a caller of main might not have.
  const char* end = argv[0];
  for (int i = 0; i < argc && argv[i] == end; ++i) end += std::strlen(argv[i]) + 1;
  const auto room = static_cast<std::size_t>(end - argv[0]);
  if (room == 0) return;
  std::memset(argv[0], 0, room);
  std::memcpy(argv[0], title, std::min(room - 1, std::strlen(title)));
}

}  // namespace hvd::launcher
