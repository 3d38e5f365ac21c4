// several_hosts N PROGRAM ARGUMENTS…: starts PROGRAM as N ranks, each on a virtual host of its own, as a launcher for several hosts would.
// When the first has failed, the others have ten seconds. Exit status: that of the first that failed; 77: the kernel forbids it. N = 0 only
// tries whether it is possible.
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <map>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/secret.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/rendezvous/server.h"
#include "horovod_cpp/secure/job_key.h"
#include "launcher/descendants.h"
#include "tests/harness/virtual_hosts.h"

namespace hvd {
namespace {

constexpr std::chrono::seconds kGrace{10};

[[noreturn]] void become_rank(int rank, int size, const std::string& rendezvous, int key, int ready, int go,
                              char** command) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  char byte = 0;
  Status status = become_host();
  if (status.is_ok() && ::write(ready, "r", 1) == 1 && ::read(go, &byte, 1) == 1) status = use_cable(rank);
  if (!status.is_ok()) {
    std::cerr << "rank " << rank << ": " << status.message() << '\n';
    ::_exit(126);
  }
  const std::pair<const char*, int> numbers[] = {
      {"RANK", rank},       {"SIZE", size},       {"LOCAL_RANK", 0},  {"LOCAL_SIZE", 1},
      {"CROSS_RANK", rank}, {"CROSS_SIZE", size}, {"JOB_KEY_FD", key}};
  for (const auto& [name, number] : numbers) {
    ::setenv(text("HVD_", name).c_str(), std::to_string(number).c_str(), 1);
  }
  ::setenv("HVD_RENDEZVOUS", rendezvous.c_str(), 1);
  ::fcntl(key, F_SETFD, 0);
  ::execvp(command[0], command);
  std::cerr << command[0] << " cannot be executed\n";
  ::_exit(127);
}

struct Pipe {
  Pipe() {
    if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
  }
  ~Pipe() {
    ::close(ends[0]);
    ::close(ends[1]);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int ends[2];
};

// The pid, or what went wrong.
Result<pid_t> start(int rank, int size, const std::string& rendezvous, int key, char** command) {
  const Pipe ready;
  const Pipe go;
  const pid_t pid = ::fork();
  if (pid == 0) become_rank(rank, size, rendezvous, key, ready.ends[1], go.ends[0], command);
  char byte = 0;
  pollfd entry{ready.ends[0], POLLIN, 0};
  if (pid < 0 || ::poll(&entry, 1, 10'000) <= 0 || ::read(ready.ends[0], &byte, 1) != 1)
    return Status::unavailable(text("host ", rank, " does not come up"));
  HVD_RETURN_IF_ERROR(lay_cable(rank, pid));
  if (::write(go.ends[1], "g", 1) != 1) return Status::internal("a pipe");
  return pid;
}

int look_after(std::map<pid_t, int> ranks, RendezvousServer& server) {
  int exit_status = 0;
  Deadline end = Deadline::never();
  while (!ranks.empty()) {
    pollfd entry{server.event_fd(), POLLIN, 0};
    ::poll(&entry, 1, 20);
    server.handle_events();
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      const auto rank = ranks.find(pid);
      if (rank == ranks.end()) continue;
      const int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
      std::cerr << "rank " << rank->second << " ended with " << code << '\n';
      server.rank_ended(rank->second, code == 0);
      if (code != 0 && exit_status == 0) {
        exit_status = code;
        end = Deadline::after(kGrace);
      }
      ranks.erase(rank);
    }
    if (end.passed()) launcher::signal_descendants(SIGKILL);
  }
  launcher::signal_descendants(SIGKILL);
  return exit_status;
}

Result<int> run(int size, char** command) {
  auto key = random_secret(16);
  HVD_RETURN_IF_ERROR(key.status());
  auto shared_key = share_job_key(key.value());
  HVD_RETURN_IF_ERROR(shared_key.status());
  auto server = RendezvousServer::listen(address_of_switch(), size, key.value());
  HVD_RETURN_IF_ERROR(server.status());
  std::map<pid_t, int> ranks;
  for (int rank = 0; rank < size; ++rank) {
    const auto pid = start(rank, size, server.value()->address(), shared_key->get(), command);
    HVD_RETURN_IF_ERROR(pid.status());
    ranks[pid.value()] = rank;
  }
  return look_after(std::move(ranks), *server.value());
}

// A host that does nothing, and its cable.
Status try_out() {
  const Pipe ready;
  const Pipe done;
  const pid_t pid = ::fork();
  char byte = 0;
  if (pid == 0) {
    const bool is_host = become_host().is_ok() && ::write(ready.ends[1], "r", 1) == 1;
    pollfd entry{done.ends[0], POLLIN, 0};
    if (is_host) ::poll(&entry, 1, 10'000);
    ::_exit(0);
  }
  pollfd entry{ready.ends[0], POLLIN, 0};
  const bool is_host = pid > 0 && ::poll(&entry, 1, 10'000) > 0 && ::read(ready.ends[0], &byte, 1) == 1;
  const Status status = is_host ? lay_cable(0, pid) : Status::unavailable("a second network namespace");
  [[maybe_unused]] const auto written = ::write(done.ends[1], "d", 1);
  ::waitpid(pid, nullptr, 0);
  return status;
}

}  // namespace
}  // namespace hvd

int main(int argc, char** argv) {
  const int size = argc > 1 ? std::atoi(argv[1]) : -1;
  if (size < 0 || (size > 0 && argc < 3)) {
    std::cerr << "several_hosts N PROGRAM ARGUMENTS…\n";
    return 2;
  }
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  hvd::Status status = hvd::make_switch();
  if (status.is_ok() && size == 0) status = hvd::try_out();
  if (!status.is_ok()) {
    std::cerr << status.message() << '\n';
    return hvd::kNoVirtualHosts;
  }
  if (size == 0) return 0;
  const auto exit_status = hvd::run(size, argv + 2);
  if (exit_status.is_ok()) return exit_status.value();
  std::cerr << exit_status.status().message() << '\n';
  hvd::launcher::signal_descendants(SIGKILL);
  return 1;
}
