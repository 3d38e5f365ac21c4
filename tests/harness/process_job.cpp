#include "tests/harness/process_job.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/text.h"
#include "tests/harness/leftovers.h"

namespace hvd {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr seconds kMarkLimit{30};
constexpr seconds kKillGrace{10};

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// glibc 2.36's <sys/pidfd.h> cannot be used from C++.
int open_pidfd(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }
bool signal_pidfd(int fd, int signal) {
  return ::syscall(SYS_pidfd_send_signal, fd, signal, nullptr, 0) == 0;
}

std::string make_folder() {
  std::string name = fs::temp_directory_path() / "hvd-test-XXXXXX";
  return ::mkdtemp(name.data()) == nullptr ? "" : name;
}

std::vector<char*> pointers_to(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (auto& string : strings) pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

// This process's environment with `changes` made.
// A launcher's own variables are left out: a test may itself run under one.
std::vector<std::string> environment_with(const std::vector<std::pair<std::string, std::string>>& changes) {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string whole = *entry;
    const auto equals = whole.find('=');
    if (whole.starts_with("OMPI_COMM_") || whole.starts_with("PMIX_")) continue;
    variables[whole.substr(0, equals)] = whole.substr(equals + 1);
  }
  for (const auto& [name, value] : changes) variables[name] = value;
  std::vector<std::string> out;
  for (const auto& [name, value] : variables) out.push_back(text(name, "=", value));
  return out;
}

// Between fork and exec of a program with threads: system calls only.
[[noreturn]] void become(char* const* argv, char* const* envp, const char* out, const char* err) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  const int in_fd = ::open("/dev/null", O_RDONLY);
  const int out_fd = ::open(out, O_WRONLY | O_CREAT | O_APPEND, 0600);
  const int err_fd = ::open(err, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (in_fd < 0 || out_fd < 0 || err_fd < 0) ::_exit(126);
  ::dup2(in_fd, 0);
  ::dup2(out_fd, 1);
  ::dup2(err_fd, 2);
  ::close_range(3, ~0U, 0);
  ::execvpe(argv[0], argv, envp);
  constexpr char complaint[] = "the test harness cannot execute the launcher\n";
  [[maybe_unused]] const auto written = ::write(2, complaint, sizeof(complaint) - 1);
  ::_exit(127);
}

}  // namespace

std::string program_folder() { return fs::read_symlink("/proc/self/exe").parent_path(); }

std::vector<std::string> mpirun_command(int n) {
  // Open MPI keeps memory until the process ends and unloads its components before: LeakSanitizer can no longer name them.
  return {"env",
          "LSAN_OPTIONS=detect_leaks=0",
          "OMPI_ALLOW_RUN_AS_ROOT=1",
          "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
          "mpirun",
          "--oversubscribe",
          "-np",
          std::to_string(n)};
}

ProcessJob::ProcessJob(int n, const std::string& case_name, ProcessOptions options)
    : options_(std::move(options)),
      folder_(make_folder()),
      start_(steady_clock::now()),
      files_before_(shared_files()) {
  std::vector<std::string> command = options_.launcher;
  if (command.empty()) command = {program_folder() + "/hvdrun", "-np", std::to_string(n)};
  command.insert(command.end(), options_.launcher_arguments.begin(), options_.launcher_arguments.end());
  command.insert(command.end(), {fs::read_symlink("/proc/self/exe"), kCaseArgument, case_name});
  command.insert(command.end(), options_.case_arguments.begin(), options_.case_arguments.end());

  std::error_code ignored;
  fs::create_directory(folder_ + "/tmp", ignored);
  auto changes = options_.environment;
  changes.insert(changes.begin(), {{kJobFolderVariable, folder_}, {"TMPDIR", folder_ + "/tmp"}});
  std::vector<std::string> environment = environment_with(changes);

  const auto argv = pointers_to(command);
  const auto envp = pointers_to(environment);
  const std::string out = folder_ + "/stdout";
  const std::string err = folder_ + "/stderr";
  launcher_ = ::fork();
  if (launcher_ == 0) become(argv.data(), envp.data(), out.c_str(), err.c_str());
  if (launcher_ > 0) launcher_fd_.reset(open_pidfd(launcher_));
}

ProcessJob::~ProcessJob() {
  if (!folder_.empty()) (void)finish();
}

Status ProcessJob::wait_for_file(const std::string& file, const std::string& what) {
  const Deadline deadline = Deadline::after(kMarkLimit);
  while (!fs::exists(folder_ + "/" + file)) {
    if (deadline.passed()) return Status::timed_out(text(what, " within ", kMarkLimit.count(), " s"));
    if (wait_for_launcher(steady_clock::now() + milliseconds(5)) && !fs::exists(folder_ + "/" + file)) {
      return Status::aborted(text(what, ": the launcher has ended\n", read_file(folder_ + "/stderr")));
    }
  }
  return {};
}

Result<pid_t> ProcessJob::rank_pid(int rank) {
  const std::string file = text("pid.", rank);
  HVD_RETURN_IF_ERROR(wait_for_file(file, text("rank ", rank, " has not begun")));
  return std::atoi(read_file(folder_ + "/" + file).c_str());
}

Status ProcessJob::kill_rank(int rank, int signal) {
  const Result<pid_t> pid = rank_pid(rank);
  HVD_RETURN_IF_ERROR(pid.status());
  // The descriptor keeps the number from meaning somebody else between the look and the kill.
  const UniqueFd process(open_pidfd(pid.value()));
  const auto job = processes_with(kJobFolderVariable, folder_);
  if (!process.is_open() || std::find(job.begin(), job.end(), pid.value()) == job.end()) {
    return Status::aborted(text("rank ", rank, " (pid ", pid.value(), ") has already ended"));
  }
  if (!signal_pidfd(process.get(), signal)) {
    return Status::internal(text("rank ", rank, " (pid ", pid.value(), "): ", std::strerror(errno)));
  }
  return {};
}

Status ProcessJob::kill_launcher(int signal) {
  if (launcher_ <= 0) return Status::aborted("the launcher has already ended");
  if (::kill(launcher_, signal) != 0) return Status::internal(text("the launcher: ", std::strerror(errno)));
  return {};
}

Status ProcessJob::wait_until_reached(int rank, const std::string& point) {
  return wait_for_file(text("reached.", rank, ".", point),
                       text("rank ", rank, " has not reached '", point, "'"));
}

void ProcessJob::leave_file(const std::string& name) const { std::ofstream(folder_ + "/" + name); }

bool ProcessJob::wait_for_launcher(steady_clock::time_point until) {
  while (launcher_ > 0) {
    int status = 0;
    if (::waitpid(launcher_, &status, WNOHANG) == launcher_) {
      exit_code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
      launcher_ = -1;
      return true;
    }
    const Deadline deadline = Deadline::at(until);
    if (deadline.passed()) return false;
    pollfd ended{launcher_fd_.get(), POLLIN, 0};
    ::poll(&ended, 1, std::min(deadline.poll_timeout_ms(), 1000));
  }
  return true;
}

std::vector<std::string> ProcessJob::find_leftovers() {
  const auto limit = steady_clock::now() + options_.leftover_grace;
  std::vector<pid_t> processes;
  std::vector<std::string> files;
  for (;;) {
    processes = processes_with(kJobFolderVariable, folder_);
    files = abandoned_files(files_before_);
    for (const auto& entry : fs::directory_iterator(folder_ + "/tmp")) files.push_back(entry.path());
    if ((processes.empty() && files.empty()) || steady_clock::now() >= limit) break;
    std::this_thread::sleep_for(milliseconds(20));
  }

  std::vector<std::string> lines;
  for (const pid_t pid : processes) {
    lines.push_back(describe_process(pid));
    ::kill(pid, SIGKILL);
  }
  for (const auto& file : files) lines.push_back(text("file ", file));
  return lines;
}

ProcessResult ProcessJob::finish() {
  ProcessResult result;
  if (!wait_for_launcher(start_ + options_.time_limit)) {
    result.timed_out = true;
    ::kill(launcher_, SIGTERM);
    if (!wait_for_launcher(steady_clock::now() + kKillGrace)) {
      ::kill(-launcher_, SIGKILL);
      wait_for_launcher(steady_clock::time_point::max());
    }
  }
  result.seconds = std::chrono::duration<double>(steady_clock::now() - start_).count();
  result.exit_code = exit_code_;
  result.leftovers = find_leftovers();
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (entry.is_regular_file()) result.files[entry.path().filename()] = read_file(entry.path());
  }
  result.out = std::move(result.files["stdout"]);
  result.err = std::move(result.files["stderr"]);
  result.files.erase("stdout");
  result.files.erase("stderr");
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
  folder_.clear();
  return result;
}

ProcessResult run_processes(int n, const std::string& case_name, ProcessOptions options) {
  return ProcessJob(n, case_name, std::move(options)).finish();
}

std::string ProcessResult::describe() const {
  std::string lines = text("exit code ", exit_code, timed_out ? " (killed after the time limit)" : "",
                           " after ", seconds, " s\n--- stdout\n", out, "\n--- stderr\n", err);
  for (const auto& leftover : leftovers) lines += text("\n--- left behind: ", leftover);
  return lines;
}

}  // namespace hvd
