#include "horovod_cpp/base/futex.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <ctime>

namespace hvd {
namespace {

long futex(const std::atomic<std::uint32_t>& word, int operation, std::uint32_t value,
           const timespec* timeout) {
  return ::syscall(SYS_futex, &word, operation, value, timeout, nullptr, 0);
}

}  // namespace

void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline) {
  timespec timeout{};
  const timespec* limit = nullptr;
  if (const auto left = deadline.remaining()) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(*left);
    timeout.tv_sec = seconds.count();
    timeout.tv_nsec = std::chrono::duration_cast<std::chrono::nanoseconds>(*left - seconds).count();
    limit = &timeout;
  }
  futex(word, FUTEX_WAIT, seen, limit);
}

void futex_wake_all(const std::atomic<std::uint32_t>& word) { futex(word, FUTEX_WAKE, INT_MAX, nullptr); }

SpinLimits SpinLimits::for_ranks(int ranks_on_host) {
  // The launcher may have bound this process to its share of the cores: the machine's count is what matters here.
  const long cores = ::sysconf(_SC_NPROCESSORS_ONLN);
  if (ranks_on_host > cores) return {0, 2};
  return {2000, 4};
}

}  // namespace hvd
