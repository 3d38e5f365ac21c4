#include "tests/gpu/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>

#include "horovod_cpp/base/deadline.h"

namespace hvd {

ChildProcess::ChildProcess(std::vector<std::string> arguments, std::vector<std::string> environment,
                           int inherited) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  output_.reset(ends[0]);
  const UniqueFd write_end(ends[1]);
  // Everything that allocates happens before fork: other threads may hold locks.
  arguments.insert(arguments.begin(), "/proc/self/exe");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::vector<char*> envp;
  for (std::string& variable : environment) envp.push_back(variable.data());
  for (char** variable = environ; *variable != nullptr; ++variable) envp.push_back(*variable);
  envp.push_back(nullptr);
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ == 0) {
    if (inherited >= 0) fcntl(inherited, F_SETFD, 0);
    dup2(write_end.get(), STDOUT_FILENO);
    dup2(write_end.get(), STDERR_FILENO);
    execve(argv[0], argv.data(), envp.data());
    _exit(127);
  }
}

ChildProcess::~ChildProcess() {
  if (pid_ < 0) return;
  kill();
  waitpid(pid_, nullptr, 0);
}

void ChildProcess::kill() {
  if (pid_ > 0) ::kill(pid_, SIGKILL);
}

ChildEnd ChildProcess::wait(std::chrono::seconds longest) {
  const auto deadline = Deadline::after(longest);
  ChildEnd end;
  for (;;) {
    pollfd readable{output_.get(), POLLIN, 0};
    const int ready = poll(&readable, 1, deadline.poll_timeout_ms());
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      end.output += "[killed: it took too long]";
      kill();
      break;
    }
    char buffer[4096];
    const ssize_t got = read(output_.get(), buffer, sizeof(buffer));
    if (got <= 0) break;
    end.output.append(buffer, static_cast<std::size_t>(got));
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  end.exited_by_itself = WIFEXITED(status);
  if (end.exited_by_itself) end.exit_code = WEXITSTATUS(status);
  return end;
}

}  // namespace hvd
