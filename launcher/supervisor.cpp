#include "launcher/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "horovod_cpp/base/rank_list.h"
#include "horovod_cpp/base/secret.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/secure/job_key.h"
#include "launcher/deaths.h"
#include "launcher/descendants.h"
#include "launcher/ending.h"
#include "launcher/environment_plan.h"
#include "launcher/job_outputs.h"
#include "launcher/job_rendezvous.h"
#include "launcher/nonblocking.h"
#include "launcher/outcome.h"
#include "launcher/program_lookup.h"
#include "launcher/rank_process.h"
#include "launcher/roster.h"
#include "launcher/signal_name.h"

namespace hvd::launcher {
namespace {

using Clock = std::chrono::steady_clock;

// After a signal, output that nobody takes is given up; and at any end, processes that cannot be killed.
constexpr std::chrono::seconds kFlushAfterSignal{2};
constexpr std::chrono::seconds kGiveUpKilling{10};
constexpr std::size_t kJobKeyBytes = 16;

bool is_terminating(int signal) {
  return signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT;
}

class Supervisor {
 public:
  Supervisor(const JobPlan& plan, const ProcessSetup& setup, SupervisorEnds ends)
      : plan_(plan),
        setup_(setup),
        control_(std::move(ends.control)),
        stdin_of_rank_0_(std::move(ends.stdin_of_rank_0)),
        ending_(plan.options.failure_grace, plan.options.kill_grace),
        outputs_(plan.options) {}

  int run();

 private:
  Status prepare();
  Status start_ranks();
  Status start(int rank, const std::string& rendezvous, int null_fd);
  void pass_on(int signal);
  void receive(int signal);
  void read_control();
  void read_signals();
  void read_start_failures();
  void reap();
  void note_end(pid_t pid, int status);
  void note_failure(RankEnd& end);
  void note_given_up();
  void end_what_is_due();
  void wait_for_something();
  void report();
  void verbose(const std::string& line) {
    if (plan_.options.verbose) outputs_.say(line);
  }

  const JobPlan& plan_;
  const ProcessSetup& setup_;
  UniqueFd control_;
  UniqueFd stdin_of_rank_0_;
  UniqueFd signals_;
  Pipe start_failures_;
  UniqueFd job_key_;  // what ranks read it from
  std::unique_ptr<RendezvousServer> server_;

  Ending ending_;
  JobOutputs outputs_;
  Roster roster_;
  Deaths deaths_;
  std::map<int, std::string> start_errors_;  // of ranks whose program could not be executed
  std::optional<int> start_exit_status_;     // … and what a shell's exit status would be
  std::vector<RankEnd> ends_;
  std::optional<int> passed_on_;  // terminating signal that came before any rank failed
  bool sent_signal_ = false;      // SIGTERM or SIGKILL of hvdrun's own
  bool everybody_gone_ = false;
  bool reported_ = false;
  Deadline give_up_killing_ = Deadline::never();
  Deadline flush_until_ = Deadline::never();
  int exit_status_ = 0;
};

int Supervisor::run() {
  Status started = prepare();
  if (started.is_ok()) started = start_ranks();
  if (!started.is_ok()) {
    outputs_.say(started.message());
    exit_status_ = kExitUsage;
    ending_.kill_now(Clock::now());
  }
  while (true) {
    reap();
    end_what_is_due();
    if (everybody_gone_) {
      outputs_.drain();
      if (outputs_.streams_are_closed() && !reported_) report();
      if (reported_ && !outputs_.has_pending()) break;
      if (flush_until_.passed()) break;
    }
    wait_for_something();
  }
  return exit_status_;
}

Status Supervisor::prepare() {
  signals_ = UniqueFd(signalfd(-1, &setup_.watched(), SFD_CLOEXEC | SFD_NONBLOCK));
  start_failures_ = make_pipe();
  if (!signals_.is_open() || !start_failures_.is_open()) {
    return Status::unavailable(text("no descriptors left: ", std::strerror(errno)));
  }
  set_nonblocking(start_failures_.read.get());
  set_nonblocking(control_.get());

  const auto key = random_secret(kJobKeyBytes);
  if (!key.is_ok()) return key.status();
  auto shared_key = share_job_key(key.value());
  if (!shared_key.is_ok()) return shared_key.status();
  job_key_ = std::move(shared_key).value();
  auto server = open_rendezvous(plan_.options, key.value());
  if (!server.is_ok()) return server.status();
  server_ = std::move(*server);
  return {};
}

Status Supervisor::start_ranks() {
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.is_open()) return Status::unavailable(text("/dev/null: ", std::strerror(errno)));
  Status status;
  for (int rank = 0; rank < plan_.options.num_proc && status.is_ok(); ++rank) {
    status = start(rank, server_->address(), null.get());
  }
  // Only rank 0 holds its standard input now: when it ends, whoever writes there notices.
  stdin_of_rank_0_.reset();
  dup2(null.get(), STDIN_FILENO);
  return status;
}

Status Supervisor::start(int rank, const std::string& rendezvous, int null_fd) {
  auto output_ends = outputs_.connect(rank);
  if (!output_ends.is_ok()) return output_ends.status();

  const JobEnvironment environment{plan_.options.num_proc, rendezvous, job_key_.get(),
                                   plan_.cores.omp_threads, plan_.options.settings};
  RankStart start;
  start.rank = rank;
  start.program = plan_.program;
  start.arguments = plan_.options.command;
  start.environment = environment_of_rank(plan_.environment, environment, rank);
  if (!plan_.cores.cpus.empty()) start.cpus = plan_.cores.cpus[static_cast<std::size_t>(rank)];
  const int stdin_of_rank_0 = stdin_of_rank_0_.is_open() ? stdin_of_rank_0_.get() : STDIN_FILENO;
  start.stdin_fd = rank == 0 ? stdin_of_rank_0 : null_fd;
  start.stdout_fd = output_ends->out.get();
  start.stderr_fd = output_ends->err.get();
  start.job_key_fd = job_key_.get();
  start.failure_fd = start_failures_.write.get();
  const auto pid = start_rank(start, setup_);
  if (!pid.is_ok()) return pid.status();

  roster_.started(pid.value(), rank);
  deaths_.watch(pid.value());
  verbose(text("rank ", rank, ": pid ", pid.value(),
               start.cpus.empty() ? ", not bound" : ", bound to processors ", name_of_cpus(start.cpus)));
  return {};
}

void Supervisor::pass_on(int signal) {
  for (const auto& [pid, rank] : roster_.running()) {
    kill(-pid, signal);
    if (is_terminating(signal)) kill(-pid, SIGCONT);
  }
}

void Supervisor::receive(int signal) {
  verbose(text("received ", name_of_signal(signal)));
  pass_on(signal);
  if (!is_terminating(signal)) return;
  const bool has_failed =
      std::any_of(ends_.begin(), ends_.end(), [](const RankEnd& end) { return end.failed(); });
  if (!has_failed && !passed_on_) passed_on_ = signal;
  if (everybody_gone_) flush_until_ = Deadline::after(kFlushAfterSignal);
  ending_.signal_received(signal, Clock::now());
}

void Supervisor::read_control() {
  unsigned char signals[64];
  const ssize_t count = read(control_.get(), signals, sizeof signals);
  for (ssize_t i = 0; i < count; ++i) receive(signals[i]);
  if (count > 0 || (count < 0 && (errno == EINTR || errno == EAGAIN))) return;
  control_.reset();
  outputs_.give_up();
  ending_.kill_now(Clock::now());
}

void Supervisor::read_signals() {
  signalfd_siginfo info{};
  while (read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo != SIGCHLD) receive(static_cast<int>(info.ssi_signo));
  }
}

void Supervisor::read_start_failures() {
  StartFailure failure;
  while (read(start_failures_.read.get(), &failure, sizeof failure) == static_cast<ssize_t>(sizeof failure)) {
    const auto explained = explain_exec_failure(plan_.program, plan_.options.command.front(), failure.error);
    start_errors_[failure.rank] = explained.message;
    start_exit_status_ = explained.exit_status;
    ending_.kill_now(Clock::now());
  }
}

void Supervisor::note_end(pid_t pid, int status) {
  const auto rank = roster_.ended(pid);
  if (!rank) return;  // something a rank had started
  RankEnd end;
  end.rank = *rank;
  end.pid = pid;
  end.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  end.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  end.seen = Clock::now();
  end.ended_by_us = sent_signal_;
  if (const auto error = start_errors_.find(end.rank); error != start_errors_.end()) {
    end.start_error = error->second;
    end.ended_by_us = false;  // the signal that followed found it gone
    end.exit_code = start_exit_status_.value_or(end.exit_code);
  }
  server_->rank_ended(end.rank, !end.failed());
  if (end.failed()) note_failure(end);
  ends_.push_back(std::move(end));
}

void Supervisor::note_failure(RankEnd& end) {
  const bool was_given_up = roster_.was_given_up(end.rank);
  const auto left = roster_.left();
  end.job_went_on = was_given_up || (end.start_error.empty() && ending_.is_running() && !left.empty() &&
                                     server_->can_go_on());
  if (!end.job_went_on) {
    ending_.rank_failed(end.seen);
  } else if (!was_given_up) {
    outputs_.say(words_of_loss(end, left));
  }
}

void Supervisor::note_given_up() {
  for (const auto& [pid, rank] : roster_.give_up(server_->given_up())) {
    outputs_.say(text("rank ", rank, " (pid ", pid,
                      ") did not come when the others met again after a loss; the job goes on with ",
                      name_of_ranks(roster_.left())));
  }
}

void Supervisor::reap() {
  if (everybody_gone_) return;
  if (start_failures_.is_open()) read_start_failures();
  while (const auto death = deaths_.next()) {
    read_start_failures();
    note_end(death->pid, death->status);
  }
  if (deaths_.nobody_is_left()) {
    everybody_gone_ = true;
    if (passed_on_) flush_until_ = Deadline::after(kFlushAfterSignal);
  } else if (roster_.left().empty()) {
    ending_.ranks_have_ended(Clock::now());
  }
}

void Supervisor::end_what_is_due() {
  if (everybody_gone_) return;
  while (const auto signal = ending_.due(Clock::now())) {
    sent_signal_ = true;
    if (*signal == SIGTERM && !roster_.running().empty()) {
      verbose("the ranks that are left get SIGTERM");
      pass_on(SIGTERM);
      continue;
    }
    const std::size_t left = signal_descendants(*signal);
    if (*signal != SIGKILL) continue;
    if (give_up_killing_.is_never()) give_up_killing_ = Deadline::after(kGiveUpKilling);
    if (!give_up_killing_.passed()) continue;
    outputs_.say(text(left, " processes of the job cannot be killed"));
    if (exit_status_ == 0) exit_status_ = 1;
    everybody_gone_ = true;
    return;
  }
}

void Supervisor::wait_for_something() {
  std::vector<pollfd> polls{
      {signals_.get(), POLLIN, 0},
      {control_.get(), POLLIN, 0},  // poll skips descriptors that are -1
      {server_ != nullptr ? server_->event_fd() : -1, POLLIN, 0},
  };
  outputs_.add_to(polls);
  const Deadline deadline = everybody_gone_ ? flush_until_ : ending_.next();
  if (poll(polls.data(), polls.size(), deadline.poll_timeout_ms()) <= 0) return;
  if (polls[0].revents != 0) read_signals();
  if (polls[1].revents != 0) read_control();
  if (polls[2].revents != 0) {
    server_->handle_events();
    note_given_up();
  }
  outputs_.handle(polls);
}

void Supervisor::report() {
  reported_ = true;
  if (exit_status_ != 0) return;  // hvdrun's own failure has been said
  const Outcome outcome = outcome_of(ends_, passed_on_);
  exit_status_ = outcome.exit_status;
  for (const auto& line : outcome.lines) outputs_.say(line);
}

}  // namespace

int supervise(const JobPlan& plan, const ProcessSetup& setup, SupervisorEnds ends) {
  return Supervisor(plan, setup, std::move(ends)).run();
}

}  // namespace hvd::launcher
