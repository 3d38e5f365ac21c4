#include "tests/gpu/standin/nccl/segment.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <thread>

namespace hvd::standin {
namespace {

// How a unique id reads.
struct Ticket {
  std::uint64_t token;
  std::int32_t pid;
  std::int32_t fd;
};
static_assert(sizeof(Ticket) <= NCCL_UNIQUE_ID_BYTES);

Ticket ticket_of(const ncclUniqueId& id) {
  Ticket ticket{};
  std::memcpy(&ticket, id.internal, sizeof(ticket));
  return ticket;
}

// Descriptors of ids made here that not all ranks have opened yet.
struct OpenIds {
  std::mutex mutex;
  std::map<std::uint64_t, UniqueFd> by_token;
};
OpenIds& open_ids() {
  static auto* const ids = new OpenIds();
  return *ids;
}

SharedState* map(int fd) {
  void* const memory = mmap(nullptr, sizeof(SharedState), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<SharedState*>(memory);
}

}  // namespace

ncclResult_t Segment::make_id(ncclUniqueId& id) {
  UniqueFd fd(memfd_create("hvd_standin_nccl", MFD_CLOEXEC));
  if (!fd.is_open() || ftruncate(fd.get(), sizeof(SharedState)) != 0) return ncclSystemError;
  SharedState* const state = map(fd.get());
  if (state == nullptr) return ncclSystemError;
  std::random_device random;
  const Ticket ticket{(std::uint64_t{random()} << 32) | random(), getpid(), fd.get()};
  state->token.store(ticket.token);
  munmap(state, sizeof(SharedState));
  std::memset(id.internal, 0, sizeof(id.internal));
  std::memcpy(id.internal, &ticket, sizeof(ticket));
  const std::lock_guard lock(open_ids().mutex);
  open_ids().by_token.emplace(ticket.token, std::move(fd));
  return ncclSuccess;
}

ncclResult_t Segment::attach(const ncclUniqueId& id, int rank, int size, std::unique_ptr<Segment>& out) {
  const Ticket ticket = ticket_of(id);
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/%d/fd/%d", ticket.pid, ticket.fd);
  const UniqueFd fd(open(path, O_RDWR | O_CLOEXEC));
  if (!fd.is_open()) return ncclRemoteError;
  SharedState* const state = map(fd.get());
  if (state == nullptr) return ncclSystemError;
  out.reset(new Segment(state, rank, size));
  if (state->token.load() != ticket.token) return ncclRemoteError;
  out->cell(rank).pid.store(getpid());
  return out->cell(rank).is_present.exchange(1) == 0 ? ncclSuccess : ncclInvalidUsage;
}

Segment::~Segment() { munmap(state_, sizeof(SharedState)); }

ncclResult_t Segment::settle() {
  for (int rank = 0; rank < size_; ++rank) {
    const pid_t pid = cell(rank).pid.load();
    if (pid == getpid()) continue;
    processes_.emplace_back(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    if (!processes_.back().is_open()) return ncclRemoteError;
  }
  const std::lock_guard lock(open_ids().mutex);
  open_ids().by_token.erase(state_->token.load());
  return ncclSuccess;
}

// A pidfd is readable from the moment the process is a zombie; kill(pid, 0) is not as observant.
bool Segment::somebody_died() {
  for (const UniqueFd& process : processes_) {
    pollfd look{process.get(), POLLIN, 0};
    if (poll(&look, 1, 0) > 0) return true;
  }
  return false;
}

WaitEnd Segment::wait(const std::function<bool()>& is_met, const std::atomic<bool>& stop) {
  constexpr int kYields = 200;
  for (int looks = 0;; ++looks) {
    if (is_met()) return WaitEnd::done;
    if (stop.load(std::memory_order_acquire)) return WaitEnd::stopped;
    if (looks < kYields) {
      std::this_thread::yield();
      continue;
    }
    if (looks % 16 == 0 && somebody_died() && !is_met()) return WaitEnd::peer_died;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

WaitEnd Segment::barrier(const std::atomic<bool>& stop) {
  const std::uint64_t wanted = ++barriers_;
  cell(rank_).arrivals.store(wanted, std::memory_order_release);
  return wait(
      [&] {
        for (int rank = 0; rank < size_; ++rank) {
          if (cell(rank).arrivals.load(std::memory_order_acquire) < wanted) return false;
        }
        return true;
      },
      stop);
}

}  // namespace hvd::standin
