#include "tests/bench/job.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "horovod_cpp/base/text.h"
#include "launcher/descendants.h"
#include "tests/bench/reaper.h"

extern char** environ;

namespace hvd::bench {
namespace {

// `inherited` with these variables set.
std::vector<std::string> environment_with(const std::vector<std::pair<std::string, std::string>>& variables) {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string setting = *entry;
    const std::string name = setting.substr(0, setting.find('='));
    const bool is_set = std::any_of(variables.begin(), variables.end(),
                                    [&](const auto& variable) { return variable.first == name; });
    if (!is_set) out.push_back(setting);
  }
  for (const auto& [name, value] : variables) out.push_back(text(name, "=", value));
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (auto& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

bool has_in_environment(pid_t pid, const std::string& entry) {
  std::ifstream file(text("/proc/", pid, "/environ"), std::ios::binary);
  const std::string all((std::istreambuf_iterator<char>(file)), {});
  return ('\0' + all).find('\0' + entry + '\0') != std::string::npos;
}

constexpr const char* kSharedFolder = "/dev/shm";

std::set<std::string> shared_files() {
  std::set<std::string> files;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(kSharedFolder, ignored))
    files.insert(entry.path());
  return files;
}

std::string board_entry(const MappedBoard& board) { return "HVDBENCH_BOARD=" + board.file(); }

}  // namespace

Result<std::unique_ptr<Job>> Job::start(const std::string& key, const StartPlan& plan) {
  auto board = MappedBoard::create(plan.processes);
  HVD_RETURN_IF_ERROR(board.status());
  std::unique_ptr<Job> job(new Job(key, std::move(board).value()));
  job->shared_files_before_ = shared_files();
  job->output_ = UniqueFd(::memfd_create("hvd_bench_output", MFD_CLOEXEC));
  const int count = plan.has_launcher ? 1 : plan.processes;
  for (int rank = 0; rank < count; ++rank) HVD_RETURN_IF_ERROR(job->spawn(plan, rank));
  return job;
}

Job::~Job() { kill_all(); }

Status Job::spawn(const StartPlan& plan, int rank) {
  auto variables = plan.environment;
  variables.emplace_back("HVDBENCH_BOARD", board_.file());
  if (!plan.has_launcher) {
    variables.emplace_back("HVDBENCH_RANK", std::to_string(rank));
    variables.emplace_back("HVDBENCH_SIZE", std::to_string(plan.processes));
  }
  auto command = plan.command;
  auto environment = environment_with(variables);
  const auto arguments = pointers(command);
  const auto settings = pointers(environment);
  const pid_t conductor = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return Status::unavailable(text("fork: ", std::strerror(errno)));
  if (pid == 0) {
    // Out of reach of a Ctrl-C at the terminal, which is the conductor's alone.
    ::setsid();
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != conductor) ::_exit(3);
    reset_signals();
    const int null = ::open("/dev/null", O_RDONLY);
    if (null >= 0) ::dup2(null, 0);
    ::dup2(output_.get(), 1);
    ::dup2(output_.get(), 2);
    ::execvpe(arguments[0], arguments.data(), settings.data());
    ::dprintf(2, "%s: %s\n", arguments[0], std::strerror(errno));
    ::_exit(127);
  }
  started_.push_back(pid);
  return {};
}

Status Job::look() const {
  if (const int signal = interrupted_by(); signal != 0)
    return Status::aborted(text("interrupted by signal ", signal));
  reap();
  for (const pid_t pid : started_) {
    if (const auto end = how_ended(pid)) return Status::aborted(text("a process of it ended: ", *end));
  }
  return board_->failed.load() != 0 ? Status::aborted("a rank failed") : Status();
}

std::pair<int, Answer> Job::first_cause() const {
  for (const Answer answer : {Answer::failed, Answer::followed, Answer::cannot}) {
    for (int rank = 0; rank < board_->size; ++rank) {
      const RankSlot& slot = board_->ranks[static_cast<std::size_t>(rank)];
      if (slot.answer == answer) return {rank, answer};
    }
  }
  return {0, Answer::well};
}

Status Job::wait_for_answers(Deadline deadline) {
  Status status = board_->wait(deadline, [this] { return look(); });
  if (const auto [rank, answer] = first_cause(); answer != Answer::well) {
    const std::string message = get_text(board_->ranks[static_cast<std::size_t>(rank)].message);
    status = answer == Answer::cannot ? Status::unimplemented(message)
                                      : Status::aborted(text("rank ", rank, ": ", message));
  }
  if (status.is_ok() || status.code() == StatusCode::unimplemented) return status;
  is_healthy_ = false;
  return with_last_words(status);
}

Status Job::with_last_words(const Status& status) const {
  std::string output(1 << 14, '\0');
  const off_t size = ::lseek(output_.get(), 0, SEEK_END);
  const off_t from = std::max<off_t>(0, size - static_cast<off_t>(output.size()));
  output.resize(static_cast<std::size_t>(
      std::max<ssize_t>(0, ::pread(output_.get(), output.data(), output.size(), from))));
  std::vector<std::string> lines;
  std::string line;
  for (const char letter : output + "\n") {
    if (letter != '\n') {
      line += letter;
    } else if (!line.empty()) {
      lines.push_back(std::exchange(line, {}));
    }
  }
  std::string words = status.message();
  for (std::size_t i = lines.size() - std::min<std::size_t>(lines.size(), 4); i < lines.size(); ++i)
    words += text(i + 4 >= lines.size() ? " | " : "", lines[i].substr(0, 300));
  return {status.code(), words};
}

Status Job::wait_for_join(Deadline deadline) { return wait_for_answers(deadline); }

Status Job::perform(const Command& command, Deadline deadline) {
  if (!is_healthy_) return Status::aborted("it has failed before");
  for (auto& slot : board_->ranks) slot.answer = Answer::well;
  if (pauses_) signal_ranks(SIGCONT);
  board_->send(command);
  Status status = wait_for_answers(deadline);
  if (command.action == Action::prepare) {
    processes_ = find_processes();
    note_shared_files();
  }
  if (pauses_) signal_ranks(SIGSTOP);
  return status;
}

Status Job::ranks_agree() const {
  for (int rank = 1; rank < board_->size; ++rank) {
    if (board_->ranks[static_cast<std::size_t>(rank)].digest != board_->ranks[0].digest)
      return Status::internal(text("ranks 0 and ", rank, " ended with different parameters"));
  }
  return {};
}

std::vector<double> Job::durations(int count) const {
  std::vector<double> seconds;
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    Stamp started{};
    Stamp finished{};
    for (std::size_t rank = 0; rank < static_cast<std::size_t>(board_->size); ++rank) {
      started = std::max(started, board_->ranks[rank].started[i]);
      finished = std::max(finished, board_->ranks[rank].finished[i]);
    }
    seconds.push_back(std::chrono::duration<double>(finished - started).count());
  }
  return seconds;
}

std::vector<pid_t> Job::find_processes() const {
  std::vector<pid_t> found;
  for (const auto& process : launcher::descendants_of(::getpid(), launcher::list_processes())) {
    if (has_in_environment(process.pid, board_entry(board_))) found.push_back(process.pid);
  }
  return found;
}

double Job::cpu_seconds() const {
  double seconds = 0;
  for (const pid_t pid : processes_) {
    clockid_t clock{};
    timespec used{};
    if (::clock_getcpuclockid(pid, &clock) == 0 && ::clock_gettime(clock, &used) == 0)
      seconds += static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
  }
  return seconds;
}

void Job::signal_ranks(int signal) const {
  for (int rank = 0; rank < board_->size; ++rank) {
    const pid_t pid = board_->ranks[static_cast<std::size_t>(rank)].pid.load();
    if (pid > 0) ::kill(pid, signal);
  }
}

void Job::finish() {
  if (is_healthy_ && interrupted_by() == 0) {
    static_cast<void>(perform({.action = Action::finish}, Deadline::after(std::chrono::seconds(10))));
    if (pauses_) signal_ranks(SIGCONT);
    const auto patience = Deadline::after(std::chrono::seconds(10));
    while (!patience.passed() && interrupted_by() == 0) {
      reap();
      if (std::all_of(started_.begin(), started_.end(), [](pid_t pid) { return how_ended(pid).has_value(); }))
        break;
      ::poll(nullptr, 0, 10);
    }
  }
  kill_all();
}

void Job::note_shared_files() {
  for (const pid_t pid : find_processes()) {
    std::ifstream maps(text("/proc/", pid, "/maps"));
    for (std::string line; std::getline(maps, line);) {
      const auto at = line.find(text(kSharedFolder, "/"));
      if (at != line.npos && !shared_files_before_.contains(line.substr(at)))
        shared_files_.insert(line.substr(at));
    }
  }
}

void Job::kill_all() {
  note_shared_files();
  // A launcher that is asked removes its own files; one that is not gone soon is killed like the rest.
  for (const int signal : {SIGTERM, SIGKILL}) {
    std::set<pid_t> told;
    const auto patience = Deadline::after(std::chrono::seconds(signal == SIGTERM ? 2 : 10));
    for (auto left = find_processes(); !left.empty() && !patience.passed(); left = find_processes()) {
      for (const pid_t pid : left) {
        if (!told.insert(pid).second) continue;
        ::kill(pid, signal);
        ::kill(pid, SIGCONT);
      }
      ::poll(nullptr, 0, 20);
      reap();
    }
  }
  reap();
  for (const auto& file : shared_files_) ::unlink(file.c_str());  // those that are gone already: no matter
}

}  // namespace hvd::bench
