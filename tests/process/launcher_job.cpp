#include "tests/process/launcher_job.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <fstream>
#include <iterator>
#include <sstream>

#include "launcher/descendants.h"

namespace hvd {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kLimit{60};

std::string file_content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string next_mark() {
  static std::atomic<int> count{0};
  return "HVD_TEST_LAUNCHER=" + std::to_string(getpid()) + "." + std::to_string(count++) + "." +
         std::to_string(Clock::now().time_since_epoch().count());
}

void open_pipe(UniqueFd& read_end, UniqueFd& write_end) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return;
  read_end.reset(ends[0]);
  write_end.reset(ends[1]);
}

// True while more may come.
bool read_into(UniqueFd& fd, std::string& text) {
  char bytes[64 << 10];
  const ssize_t count = read(fd.get(), bytes, sizeof bytes);
  if (count > 0) text.append(bytes, static_cast<std::size_t>(count));
  if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN)) fd.reset();
  return fd.is_open();
}

}  // namespace

LauncherJob::LauncherJob(const std::vector<std::string>& arguments, const LauncherJobOptions& options)
    : mark_(next_mark()) {
  std::vector<std::string> command = options.wrapper;
  command.emplace_back(HVD_TEST_HVDRUN);
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (auto& word : command) pointers.push_back(word.data());
  pointers.push_back(nullptr);

  UniqueFd out_end, err_end;
  if (options.stdout_fd < 0) open_pipe(stdout_, out_end);
  if (!options.merge_outputs) open_pipe(stderr_, err_end);
  const int out = options.stdout_fd >= 0 ? options.stdout_fd : out_end.get();
  const int err = options.merge_outputs ? out : err_end.get();
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));

  pid_ = fork();
  if (pid_ != 0) return;
  dup2(options.stdin_fd >= 0 ? options.stdin_fd : null.get(), STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  if (options.controlling_terminal >= 0) {
    setsid();
    ioctl(options.controlling_terminal, TIOCSCTTY, 0);
  } else {
    setpgid(0, 0);  // as a shell does
  }
  for (const int signal : options.ignored_signals) ::signal(signal, SIG_IGN);
  for (const auto& [name, value] : options.environment) setenv(name.c_str(), value.c_str(), 1);
  putenv(mark_.data());
  execvp(pointers[0], pointers.data());
  _exit(99);
}

LauncherJob::~LauncherJob() {
  for (int round = 0; round < 200; ++round) {
    const auto left = processes();
    if (left.empty()) break;
    for (const pid_t process : left) kill(process, SIGKILL);
    poll(nullptr, 0, 10);
  }
  if (!ended_ && pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
}

pid_t LauncherJob::supervisor() const {
  for (const auto& process : launcher::list_processes()) {
    if (process.parent == pid_ &&
        file_content("/proc/" + std::to_string(process.pid) + "/comm") == "hvd-supervisor\n") {
      return process.pid;
    }
  }
  return 0;
}

std::string LauncherJob::both() const { return "stdout:\n" + out_ + "\nstderr:\n" + err_; }

bool LauncherJob::read_outputs(std::chrono::milliseconds limit) {
  pollfd polls[] = {{stdout_.get(), POLLIN, 0}, {stderr_.get(), POLLIN, 0}};
  if (poll(polls, 2, static_cast<int>(limit.count())) > 0) {
    if (polls[0].revents != 0) read_into(stdout_, out_);
    if (polls[1].revents != 0) read_into(stderr_, err_);
  }
  return stdout_.is_open() || stderr_.is_open();
}

bool LauncherJob::wait_for(const std::string& words, int times) {
  const auto count = [&](const std::string& text) {
    int found = 0;
    for (std::size_t at = text.find(words); at != text.npos; at = text.find(words, at + 1)) ++found;
    return found;
  };
  const auto until = Clock::now() + kLimit;
  while (count(out_) < times && count(err_) < times) {
    if (Clock::now() > until) return false;
    if (!read_outputs(std::chrono::milliseconds(100))) return count(out_) >= times || count(err_) >= times;
  }
  return true;
}

int LauncherJob::finish() {
  const auto until = Clock::now() + kLimit;
  while (!ended_) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      ended_ = true;
      exit_status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
      break;
    }
    if (Clock::now() > until) return -1;
    if (!read_outputs(std::chrono::milliseconds(20))) poll(nullptr, 0, 5);
  }
  while (Clock::now() < until && read_outputs(std::chrono::milliseconds(100))) {
  }
  return exit_status_;
}

std::vector<pid_t> LauncherJob::processes() const {
  std::vector<pid_t> found;
  for (const auto& process : launcher::list_processes()) {
    if (process.state == 'Z' || process.state == 'X' || process.pid == getpid()) continue;
    const std::string environment = file_content("/proc/" + std::to_string(process.pid) + "/environ");
    if (environment.find(mark_) != environment.npos) found.push_back(process.pid);
  }
  return found;
}

std::string LauncherJob::survivors(std::chrono::seconds limit) const {
  const auto until = Clock::now() + limit;
  while (true) {
    const auto left = processes();
    if (left.empty()) return "";
    if (Clock::now() > until) {
      std::string names;
      for (const pid_t pid : left) {
        std::string command = file_content("/proc/" + std::to_string(pid) + "/cmdline");
        std::replace(command.begin(), command.end(), '\0', ' ');
        names += std::to_string(pid) + " " + command + "\n";
      }
      return names;
    }
    poll(nullptr, 0, 10);
  }
}

std::vector<std::string> lines_of(const std::string& words) {
  std::vector<std::string> lines;
  std::istringstream stream(words);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

char state_of(pid_t pid) {
  const auto process = launcher::parse_process_stat(file_content("/proc/" + std::to_string(pid) + "/stat"));
  return process ? process->state : 'X';
}

}  // namespace hvd
