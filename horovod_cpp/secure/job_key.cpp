#include "horovod_cpp/secure/job_key.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>

#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
// Above what shells use themselves, below the lowest limit of open files that is common.
constexpr int kLowestDescriptor = 64;

Result<std::string> read_whole(int fd, const std::string& where) {
  std::string key(kMaxJobKeyBytes + 2, '\0');
  ssize_t count = 0;
  do {
    // From the start: the descriptor's position belongs to every process that inherited it.
    count = ::pread(fd, key.data(), key.size(), 0);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return Status::invalid_argument(where + " cannot be read: " + error_text(errno));
  key.resize(static_cast<std::size_t>(count));
  while (!key.empty() && (key.back() == '\n' || key.back() == '\r')) key.pop_back();
  if (key.empty()) return Status::invalid_argument(where + " is empty; the job's key was expected");
  if (key.size() > kMaxJobKeyBytes) {
    return Status::invalid_argument(
        text(where, " holds more than ", kMaxJobKeyBytes, " bytes; the job's key was expected"));
  }
  return key;
}

Result<std::string> read_descriptor(const std::string& number) {
  const std::string where = text("HVD_JOB_KEY_FD='", number, "'");
  int fd = -1;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), fd);
  if (error != std::errc{} || end != number.data() + number.size() || fd < 0) {
    return Status::invalid_argument(where + ": expected the number of a descriptor, as hvdrun sets it");
  }
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) {
    return Status::invalid_argument(
        where +
        ": this process did not inherit the job's key. A program between hvdrun and this one has "
        "closed its descriptors (Python's subprocess does: use close_fds=False)");
  }
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  return read_whole(fd, where);
}

Result<std::string> read_file(const std::string& name) {
  const std::string where = text("HVD_JOB_KEY_FILE='", name, "'");
  const UniqueFd file(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat about{};
  if (!file.is_open() || ::fstat(file.get(), &about) != 0) {
    return Status::invalid_argument(where + " cannot be opened: " + error_text(errno));
  }
  if (!S_ISREG(about.st_mode)) return Status::invalid_argument(where + " is not a plain file");
  if (about.st_uid != ::geteuid()) {
    return Status::invalid_argument(text(where, " belongs to user ", about.st_uid, ", this process to user ",
                                         ::geteuid(), "; the job's key must be in a file of your own"));
  }
  if ((about.st_mode & 077U) != 0) {
    return Status::invalid_argument(where + " can be read by others; do: chmod 600 " + name);
  }
  return read_whole(file.get(), where);
}

}  // namespace

JobKeySource job_key_source(const EnvironmentLookup& lookup) {
  return {lookup("HVD_JOB_KEY_FD").value_or(""), lookup("HVD_JOB_KEY_FILE").value_or("")};
}

Result<std::string> read_job_key(const JobKeySource& source) {
  if (!source.descriptor.empty()) return read_descriptor(source.descriptor);
  if (!source.file.empty()) return read_file(source.file);
  return Status::invalid_argument(
      "there is no key of the job: start the program with hvdrun, or name a file with the key (mode 600) in "
      "HVD_JOB_KEY_FILE");
}

Result<UniqueFd> share_job_key(const std::string& key) {
  const auto failed = [] { return Status::unavailable("no memory for the job's key: " + error_text(errno)); };
  UniqueFd low(::memfd_create("hvd job key", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!low.is_open()) return failed();
  if (::pwrite(low.get(), key.data(), key.size(), 0) != static_cast<ssize_t>(key.size())) return failed();
  if (::fcntl(low.get(), F_ADD_SEALS, kSeals) != 0) return failed();
  UniqueFd high(::fcntl(low.get(), F_DUPFD_CLOEXEC, kLowestDescriptor));
  return high.is_open() ? std::move(high) : std::move(low);
}

}  // namespace hvd
