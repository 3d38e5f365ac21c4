#include "horovod_cpp/base/process_limits.h"

#include <sys/resource.h>

#include <cerrno>
#include <csignal>
#include <limits>
#include <optional>
#include <system_error>
#include <utility>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

std::optional<std::size_t> limit_of(decltype(RLIMIT_FSIZE) resource) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return static_cast<std::size_t>(limit.rlim_cur);
}

}  // namespace

std::size_t file_size_limit_bytes() {
  return limit_of(RLIMIT_FSIZE).value_or(std::numeric_limits<std::size_t>::max());
}

std::string error_text(int error_number) {
  std::string words = std::system_category().message(error_number);
  const auto with_limit = [&words](decltype(RLIMIT_FSIZE) resource, const char* what, const char* command) {
    const auto limit = limit_of(resource);
    return limit ? text(words, " (this process may have ", *limit, what, "; raise ", command, ")")
                 : text(words, " (see ", command, ")");
  };
  switch (error_number) {
    case EMFILE:
      return with_limit(RLIMIT_NOFILE, " open files", "ulimit -n");
    case EFBIG:
      return with_limit(RLIMIT_FSIZE, " bytes in a file or shared memory", "ulimit -f");
    case ENOMEM:
      return limit_of(RLIMIT_AS) ? with_limit(RLIMIT_AS, " bytes of memory", "ulimit -v") : words;
    case ENFILE:
      return text(words, " (on the whole machine; raise fs.file-max)");
    default:
      return words;
  }
}

Result<std::thread> start_thread(std::function<void()> body) {
  try {
    return std::thread(std::move(body));
  } catch (const std::system_error& error) {
    return Status::unavailable(text("a thread cannot be started: ", error.code().message(),
                                    "; see ulimit -u, ulimit -v and pids.max of the container"));
  }
}

SignalsBlocked::SignalsBlocked() {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before_);
}

SignalsBlocked::~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

}  // namespace hvd
