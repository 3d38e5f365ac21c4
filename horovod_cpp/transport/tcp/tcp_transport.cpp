#include "horovod_cpp/transport/tcp/tcp_transport.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/base/wire.h"
#include "horovod_cpp/transport/framing/framed_transport.h"

namespace hvd {
namespace {

class TcpLanes final : public ByteLanes {
 public:
  TcpLanes(int rank, std::vector<SecureSocket> sockets, UniqueFd wake)
      : rank_(rank), wake_(std::move(wake)), lanes_(sockets.size()) {
    for (std::size_t peer = 0; peer < sockets.size(); ++peer) {
      lanes_[peer].socket = std::move(sockets[peer]);
      // Fails on other kinds of stream sockets, which have no such delay.
      [[maybe_unused]] const Status ignored = disable_nagle(lanes_[peer].socket.fd());
    }
  }

  const char* name() const override { return "tcp"; }
  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(lanes_.size()); }

  Result<std::size_t> write_some(int peer, std::span<const std::byte> first,
                                 std::span<const std::byte> second) override {
    const Progress progress = lane(peer).socket.send_some(first, second);
    if (!progress.is_open) return lost(peer);
    return progress.bytes;
  }

  Result<std::size_t> read_some(int peer, std::span<std::byte> bytes) override {
    Lane& from = lane(peer);
    if (from.is_empty() && bytes.size() >= kBufferBytes) {
      const Progress progress = from.socket.receive_some(bytes);
      if (!progress.is_open) return lost(peer);
      return progress.bytes;
    }
    if (from.is_empty()) HVD_RETURN_IF_ERROR(fill(peer));
    const std::size_t taken = std::min(bytes.size(), from.end - from.begin);
    if (taken > 0) std::memcpy(bytes.data(), from.buffer.data() + from.begin, taken);
    from.begin += taken;
    return taken;
  }

  Result<bool> any_readable() override {
    const auto is_buffered = [](const Lane& lane) { return !lane.is_empty(); };
    if (std::ranges::any_of(lanes_, is_buffered)) return true;
    Status first_loss;
    for (int peer = 0; peer < size(); ++peer) {
      if (peer == rank_) continue;
      if (Status filled = fill(peer); !filled.is_ok() && first_loss.is_ok()) first_loss = std::move(filled);
      if (!lane(peer).is_empty()) return true;
    }
    if (!first_loss.is_ok()) return first_loss;
    return false;
  }

  Status sleep(std::span<const int> readers, std::span<const int> writers, Deadline deadline) override {
    entries_.assign(1, {wake_.get(), POLLIN, 0});
    for (const int peer : readers) entries_.push_back({lane(peer).socket.fd(), POLLIN, 0});
    for (const int peer : writers) entries_.push_back({lane(peer).socket.fd(), POLLOUT, 0});
    const int ready = ::poll(entries_.data(), entries_.size(), deadline.poll_timeout_ms());
    if (ready < 0 && errno != EINTR) return Status::internal("poll failed: " + error_text(errno));
    if (ready > 0 && entries_[0].revents != 0) {
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t ignored = ::read(wake_.get(), &count, sizeof(count));
    }
    return {};
  }

  void wake() override {
    const std::uint64_t one = 1;
    // Fails only when the counter is full; then it is readable anyway.
    [[maybe_unused]] const ssize_t ignored = ::write(wake_.get(), &one, sizeof(one));
  }

  // What was sent before still arrives.
  void hang_up(const Status&) override {
    for (const Lane& lane : lanes_) {
      if (lane.socket.is_open()) ::shutdown(lane.socket.fd(), SHUT_RDWR);
    }
  }

 private:
  // Short messages and headers come out of a buffer, with one system call for many.
  static constexpr std::size_t kBufferBytes = 16384;
  struct Lane {
    SecureSocket socket;
    Bytes buffer;
    std::size_t begin = 0, end = 0;  // what is unread in the buffer
    bool is_empty() const { return begin == end; }
  };

  Lane& lane(int peer) { return lanes_[static_cast<std::size_t>(peer)]; }

  static Status lost(int peer) {
    return Status::aborted(text("rank ", peer, " is gone: its connection was closed"));
  }

  // One read into an empty buffer.
  Status fill(int peer) {
    Lane& from = lane(peer);
    from.buffer.resize(kBufferBytes);
    from.begin = from.end = 0;
    const Progress progress = from.socket.receive_some(from.buffer);
    if (!progress.is_open) return lost(peer);
    from.end = progress.bytes;
    return {};
  }

  const int rank_;
  const UniqueFd wake_;
  std::vector<Lane> lanes_;
  std::vector<pollfd> entries_;  // kept for its capacity
};

}  // namespace

Result<std::unique_ptr<Transport>> make_tcp_transport(int rank, std::vector<SecureSocket> sockets) {
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.is_open()) {
    return Status::unavailable(
        text("rank ", rank, ": no descriptor for the TCP transport: ", error_text(errno)));
  }
  return make_framed_transport(std::make_unique<TcpLanes>(rank, std::move(sockets), std::move(wake)));
}

Result<std::unique_ptr<Transport>> make_tcp_transport(int rank, std::vector<UniqueFd> sockets) {
  return make_tcp_transport(rank, plain_sockets(std::move(sockets)));
}

}  // namespace hvd
