#include "horovod_cpp/transport/shm/memfd_exchange.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/transport/shm/sealed_memory.h"

namespace hvd {
namespace {

constexpr std::uint32_t kMagic = 0x4d445648;  // "HVDM"

// Travels with the descriptor.
struct Offer {
  std::uint32_t magic = kMagic;
  std::int32_t error_number = 0;  // not 0: no memory and no descriptor
  std::uint64_t round = 0;
  std::uint64_t size_bytes = 0;
};

union Control {
  cmsghdr header;
  std::byte space[CMSG_SPACE(sizeof(int))];
};

// One sendmsg of the offer with the descriptor (if it is open); what sendmsg returned.
ssize_t send_with_descriptor(int link, const Offer& offer, const UniqueFd& memory) {
  iovec piece{const_cast<Offer*>(&offer), sizeof(offer)};
  Control control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (memory.is_open()) {
    message.msg_control = &control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = memory.get();
    std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(link, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

Status send_offer(int link, const Offer& offer, const UniqueFd& memory, Deadline deadline) {
  while (true) {
    const ssize_t sent = send_with_descriptor(link, offer, memory);
    if (sent > 0) {
      // The descriptor travels with the first byte.
      return send_all(link, std::as_bytes(std::span(&offer, 1)).subspan(static_cast<std::size_t>(sent)),
                      deadline);
    }
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
      return Status::aborted("it is gone: " + error_text(errno));
    const auto ready = wait_for_events(link, POLLOUT, deadline);
    if (!ready.is_ok()) return ready.status();
    if (!ready.value()) return Status::timed_out("it took no message before the deadline");
  }
}

// Keeps the first descriptor of a message and closes any others.
void keep_descriptor(const msghdr& message, UniqueFd& memory) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(const_cast<msghdr*>(&message), header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
      UniqueFd received(fd);
      if (!memory.is_open()) memory = std::move(received);
    }
  }
}

Status receive_offer(int link, Offer& offer, UniqueFd& memory, Deadline deadline) {
  auto rest = std::as_writable_bytes(std::span(&offer, 1));
  while (!rest.empty()) {
    const auto ready = wait_for_events(link, POLLIN, deadline);
    if (!ready.is_ok()) return ready.status();
    if (!ready.value()) return Status::timed_out("it did not join before the deadline");
    iovec piece{rest.data(), rest.size()};
    Control control{};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = &control;
    message.msg_controllen = sizeof(control);
    const ssize_t received = ::recvmsg(link, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (received == 0) return Status::aborted("it is gone: it closed the connection");
    if (received < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK)) continue;
    if (received < 0) return Status::aborted("it is gone: " + error_text(errno));
    keep_descriptor(message, memory);
    rest = rest.subspan(static_cast<std::size_t>(received));
  }
  return {};
}

// Shared by an exchange and its subgroups.
using Sockets = std::shared_ptr<const std::vector<UniqueFd>>;

class MemfdExchange final : public MemoryExchange {
 public:
  // links[r] is the descriptor to rank r, one of `sockets`.
  MemfdExchange(int rank, std::vector<int> links, Sockets sockets)
      : rank_(rank), links_(std::move(links)), sockets_(std::move(sockets)) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(links_.size()); }

  Result<std::vector<MappedMemory>> allocate(std::size_t bytes, Deadline deadline) override {
    HVD_RETURN_IF_ERROR(failure_);
    auto memories = swap(bytes, deadline);
    // Whoever had no memory has read everybody's message nevertheless: the next call may go well.
    const StatusCode code = memories.status().code();
    if (code != StatusCode::ok && code != StatusCode::unavailable) failure_ = memories.status();
    ++round_;
    return memories;
  }

  Result<std::unique_ptr<MemoryExchange>> subgroup(std::span<const int> members) override {
    HVD_RETURN_IF_ERROR(failure_);
    const auto own = std::find(members.begin(), members.end(), rank_);
    if (own == members.end()) return std::unique_ptr<MemoryExchange>{};
    std::vector<int> links;
    for (const int member : members) links.push_back(link(member));
    return std::unique_ptr<MemoryExchange>(
        std::make_unique<MemfdExchange>(static_cast<int>(own - members.begin()), std::move(links), sockets_));
  }

 private:
  Status at(int peer, const Status& status) const {
    return status.with_prefix(text("rank ", rank_, ": shared memory of rank ", peer, ": "));
  }

  // Sends to all before it receives from anybody: messages are so small that no rank's sending waits for
  // another's receiving.
  Result<std::vector<MappedMemory>> swap(std::size_t bytes, Deadline deadline) {
    auto [memory, error_number] = create_sealed_memory(bytes);
    const auto own = std::make_shared<const UniqueFd>(std::move(memory));
    const Offer offer{kMagic, error_number, round_, bytes};
    for (int peer = 0; peer < size(); ++peer) {
      if (peer == rank_) continue;
      HVD_RETURN_IF_ERROR(at(peer, send_offer(link(peer), offer, *own, deadline)));
    }
    std::vector<MappedMemory> memories;
    Status first_failure;
    // Everybody's offer is read even if one is bad, so that the links stay in step.
    for (int peer = 0; peer < size(); ++peer) {
      auto memory = peer == rank_ ? own_memory(own, offer) : receive_memory(peer, deadline);
      if (memory.is_ok()) {
        memories.push_back(std::move(memory).value());
      } else if (first_failure.is_ok()) {
        first_failure = at(peer, memory.status());
      }
      if (first_failure.code() == StatusCode::timed_out || first_failure.code() == StatusCode::aborted) break;
    }
    HVD_RETURN_IF_ERROR(first_failure);
    return memories;
  }

  int link(int peer) const { return links_[static_cast<std::size_t>(peer)]; }

  static Status no_memory(const Offer& offer) {
    return Status::unavailable(
        text("it cannot allocate ", offer.size_bytes, " bytes: ", error_text(offer.error_number)));
  }

  static Result<MappedMemory> own_memory(std::shared_ptr<const UniqueFd> memory, const Offer& offer) {
    if (offer.error_number != 0) return no_memory(offer);
    auto mapped = map_sealed_memory(*memory, offer.size_bytes);
    if (mapped.is_ok()) mapped.value().file = std::move(memory);
    return mapped;
  }

  Result<MappedMemory> receive_memory(int peer, Deadline deadline) const {
    Offer offer;
    UniqueFd memory;
    HVD_RETURN_IF_ERROR(receive_offer(link(peer), offer, memory, deadline));
    if (offer.magic != kMagic || offer.round != round_)
      return Status::internal("its message makes no sense: ranks are out of step");
    if (offer.error_number != 0) return no_memory(offer);
    if (!memory.is_open())
      return Status::unavailable("no descriptor came with its message: " + error_text(EMFILE));
    return map_sealed_memory(memory, offer.size_bytes);
  }

  const int rank_;
  const std::vector<int> links_;
  const Sockets sockets_;
  std::uint64_t round_ = 0;
  Status failure_;
};

}  // namespace

std::unique_ptr<MemoryExchange> make_memfd_exchange(int rank, std::vector<UniqueFd> links) {
  const auto sockets = std::make_shared<const std::vector<UniqueFd>>(std::move(links));
  std::vector<int> descriptors;
  for (const UniqueFd& link : *sockets) descriptors.push_back(link.get());
  return std::make_unique<MemfdExchange>(rank, std::move(descriptors), sockets);
}

}  // namespace hvd
