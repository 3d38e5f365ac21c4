#include "launcher/job_outputs.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "horovod_cpp/base/text.h"
#include "launcher/nonblocking.h"
#include "launcher/output_files.h"

namespace hvd::launcher {
namespace {

bool are_same_file(int a, int b) {
  struct stat first{}, second{};
  return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

pollfd poll_for(const OutputTarget& target) {
  // Without anything to write it is still polled, for its reader's end (pipe: POLLERR, socket: POLLHUP).
  return {target.is_closed() ? -1 : target.fd(), static_cast<short>(target.has_pending() ? POLLOUT : 0), 0};
}

void handle_target(OutputTarget& target, short happened) {
  if ((happened & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
    target.close();
  } else if ((happened & POLLOUT) != 0) {
    target.write_some();
  }
}

void say_failure(OutputTarget& target, const char* name, OutputTarget& other) {
  const int error = target.take_error();
  if (error != 0) other.append(text("hvdrun: ", name, " cannot be written: ", std::strerror(error), "\n"));
}

}  // namespace

JobOutputs::JobOutputs(const JobOptions& options)
    : options_(options),
      stdout_(STDOUT_FILENO),
      stderr_(STDERR_FILENO),
      error_target_(are_same_file(STDOUT_FILENO, STDERR_FILENO) ? &stdout_ : &stderr_) {}

Result<UniqueFd> JobOutputs::connect(int rank, OutputTarget* target, const char* name) {
  UniqueFd file;
  if (!options_.output_directory.empty()) {
    auto created = create_output_file(options_.output_directory, rank, options_.num_proc, name);
    if (!created.is_ok()) return created.status();
    file = std::move(*created);
  }
  Pipe pipe = make_pipe();
  if (!pipe.is_open()) {
    return Status::aborted(
        text("rank ", rank, " cannot be started: ", std::strerror(errno), " (see ulimit -n)"));
  }
  set_nonblocking(pipe.read.get());
  LineStyle style;
  style.timestamp = options_.timestamp;
  style.rank = options_.prefix && options_.num_proc > 1;
  style.raw = options_.num_proc == 1 && !options_.timestamp;
  streams_.emplace_back(rank, std::move(pipe.read), std::move(file), target, style);
  return std::move(pipe.write);
}

Result<JobOutputs::Ends> JobOutputs::connect(int rank) {
  auto out = connect(rank, &stdout_, "stdout");
  if (!out.is_ok()) return out.status();
  auto err = connect(rank, error_target_, "stderr");
  if (!err.is_ok()) return err.status();
  return Ends{std::move(*out), std::move(*err)};
}

void JobOutputs::add_to(std::vector<pollfd>& polls) {
  polls_at_ = polls.size();
  polls.push_back(poll_for(stdout_));
  polls.push_back(poll_for(stderr_));
  polled_.clear();
  for (std::size_t i = 0; i < streams_.size(); ++i) {
    const std::size_t turn = (first_to_read_ + i) % streams_.size();
    if (!streams_[turn].wants_read()) continue;
    polls.push_back({streams_[turn].fd(), POLLIN, 0});
    polled_.push_back(turn);
  }
}

void JobOutputs::handle(const std::vector<pollfd>& polls) {
  handle_target(stdout_, polls[polls_at_].revents);
  handle_target(stderr_, polls[polls_at_ + 1].revents);
  say_failure(stdout_, "the standard output", stderr_);
  say_failure(stderr_, "the standard error", stdout_);
  for (std::size_t i = 0; i < polled_.size(); ++i) {
    if (polls[polls_at_ + 2 + i].revents == 0 || !streams_[polled_[i]].wants_read()) continue;
    streams_[polled_[i]].read_some(false);
    first_to_read_ = polled_[i] + 1;
  }
}

void JobOutputs::drain() {
  for (auto& stream : streams_) {
    while (stream.wants_read()) stream.read_some(true);
  }
}

bool JobOutputs::streams_are_closed() const {
  return std::none_of(streams_.begin(), streams_.end(),
                      [](const RankStream& stream) { return stream.is_open(); });
}

void JobOutputs::give_up() {
  stdout_.close();
  stderr_.close();
}

}  // namespace hvd::launcher
