#include "horovod_cpp/rendezvous/entrance.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <utility>
#include <vector>

#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/rendezvous/bind_address.h"

namespace hvd::rendezvous_protocol {
namespace {

using Clock = std::chrono::steady_clock;

// However many come, those who are in are served in between.
constexpr int kAcceptsAtOnce = 16;

}  // namespace

Result<std::unique_ptr<Entrance>> Entrance::open(const std::string& bind_address, const KeyedHash& key,
                                                 const RendezvousLimits& limits, std::size_t most_strangers,
                                                 Uses uses) {
  const auto address = parse_bind_address(bind_address);
  HVD_RETURN_IF_ERROR(address.status());
  auto listener = listen_tcp(address.value(), 4096);
  HVD_RETURN_IF_ERROR(listener.status());
  const auto bound = SocketAddress::of(listener->get());
  HVD_RETURN_IF_ERROR(bound.status());
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!epoll.is_open() || !timer.is_open()) {
    return Status::unavailable("no descriptors: " + error_text(errno));
  }
  std::unique_ptr<Entrance> out(new Entrance(std::move(listener).value(), std::move(epoll), std::move(timer),
                                             bound.value().text(), key, limits, most_strangers,
                                             std::move(uses)));
  HVD_RETURN_IF_ERROR(out->watch(EPOLL_CTL_ADD, out->listener_.get(), EPOLLIN));
  HVD_RETURN_IF_ERROR(out->watch(EPOLL_CTL_ADD, out->timer_.get(), EPOLLIN));
  return out;
}

Entrance::Entrance(UniqueFd listener, UniqueFd epoll, UniqueFd timer, std::string address,
                   const KeyedHash& key, const RendezvousLimits& limits, std::size_t most_strangers,
                   Uses uses)
    : listener_(std::move(listener)),
      epoll_(std::move(epoll)),
      timer_(std::move(timer)),
      address_(std::move(address)),
      key_(key),
      limits_(limits),
      most_strangers_(most_strangers),
      uses_(std::move(uses)) {}

void Entrance::handle_events() {
  std::array<epoll_event, 64> events{};
  const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
    const int fd = events.at(static_cast<std::size_t>(i)).data.fd;
    if (fd == listener_.get()) {
      accept_some();
    } else if (fd == timer_.get()) {
      handle_timer();
    } else {
      serve(fd);
    }
  }
}

Status Entrance::watch(int operation, int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), operation, fd, &event) == 0) return {};
  return Status::unavailable("epoll_ctl failed: " + error_text(errno));
}

// Ticks every second (sooner if the patience is less) while somebody has to be watched for silence, or accepting is paused.
void Entrance::set_timer(bool on) {
  if (on == timer_is_on_) return;
  itimerspec spec{};
  const auto tick = std::min<std::chrono::nanoseconds>(std::chrono::seconds(1), limits_.patience);
  const auto seconds = std::chrono::floor<std::chrono::seconds>(tick);
  if (on) spec.it_value = spec.it_interval = {seconds.count(), (tick - seconds).count()};
  if (::timerfd_settime(timer_.get(), 0, &spec, nullptr) == 0) timer_is_on_ = on;
}

void Entrance::handle_timer() {
  std::uint64_t ticks = 0;
  [[maybe_unused]] const auto ignored = ::read(timer_.get(), &ticks, sizeof(ticks));
  const auto now = Clock::now();
  std::vector<int> expired;
  bool somebody_can_expire = false;
  for (const auto& [fd, connection] : connections_) {
    if (!connection.can_expire()) continue;
    somebody_can_expire = true;
    if (connection.expires <= now) expired.push_back(fd);
  }
  for (const int fd : expired) {
    if (at(fd).is_proven) {
      drop(fd);
    } else {
      refuse_stranger(fd, "it was not through with the TLS handshake in time");
    }
  }
  if (accepting_is_paused_ && watch(EPOLL_CTL_MOD, listener_.get(), EPOLLIN).is_ok())
    accepting_is_paused_ = false;
  const bool wants_more = uses_.tick();
  set_timer(wants_more || somebody_can_expire || accepting_is_paused_);
}

void Entrance::accept_some() {
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    auto socket = accept_connection(listener_.get());
    if (socket.is_ok() && !socket->is_open()) return;
    if (socket.is_ok()) {
      admit(std::move(socket).value());
    } else if (!strangers_.empty()) {
      refuse_stranger(strangers_.front(), "no descriptors are left");
    } else {
      // Try again at the next tick instead of spinning.
      accepting_is_paused_ = watch(EPOLL_CTL_MOD, listener_.get(), 0).is_ok();
      set_timer(true);
      return;
    }
  }
}

void Entrance::admit(UniqueFd socket) {
  if (strangers_.size() >= most_strangers_)
    refuse_stranger(strangers_.front(), "too many others had proven nothing either");
  const int fd = socket.get();
  if (!watch(EPOLL_CTL_ADD, fd, EPOLLIN).is_ok()) return;
  auto secure = SecureSocket::over_tls(std::move(socket), SecureSocket::Side::accepts, key_);
  if (!secure.is_ok()) return;
  Connection& connection = connections_[fd];
  connection.socket = std::move(secure).value();
  connection.expires = Clock::now() + limits_.patience;
  strangers_.push_back(fd);
  set_timer(true);
}

void Entrance::serve(int fd) {
  const auto found = connections_.find(fd);
  if (found == connections_.end()) return;
  Connection& connection = found->second;
  if (!connection.is_proven && !prove(connection)) return;
  if (uses_.serve(connection)) {
    flush(connection);
  } else {
    drop(fd);
  }
}

// Takes the handshake as far as it goes now. False: there is more to come, or the connection is gone.
bool Entrance::prove(Connection& connection) {
  const int fd = connection.socket.fd();
  const auto shaken = connection.socket.handshake();
  if (!shaken.is_ok()) {
    refuse_stranger(fd, shaken.status().message());
    return false;
  }
  connection.is_proven = shaken.value();
  if (connection.is_proven) {
    std::erase(strangers_, fd);
    return true;
  }
  const std::uint32_t events = connection.socket.wanted_events() == POLLOUT ? EPOLLOUT : EPOLLIN;
  if (!watch(EPOLL_CTL_MOD, fd, events).is_ok()) drop(fd);
  return false;
}

void Entrance::refuse_stranger(int fd, const std::string& why) {
  drop(fd);
  ++strangers_refused_;
  if (strangers_refused_ > limits_.logged_strangers) return;
  log_.warning(
      text("rendezvous at ", address_, ": refused a connection that does not belong to the job: ", why,
           strangers_refused_ == limits_.logged_strangers ? " (further ones are not reported)" : ""));
}

void Entrance::end_with(Connection& connection, std::shared_ptr<const Bytes> message) {
  connection.rank = -1;
  connection.has_met = false;
  connection.is_ending = true;
  connection.expires = Clock::now() + limits_.patience;
  connection.unsent.push_back(std::move(message));
  set_timer(true);
  flush(connection);
}

void Entrance::flush(Connection& connection) {
  connection.flush();
  const std::uint32_t events = connection.unsent.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT;
  // Fails on no descriptor that is watched already.
  [[maybe_unused]] const Status ignored = watch(EPOLL_CTL_MOD, connection.socket.fd(), events);
}

void Entrance::drop(int fd) {
  const auto found = connections_.find(fd);
  if (found == connections_.end()) return;
  if (found->second.is_proven) {
    uses_.gone(found->second);
  } else {
    std::erase(strangers_, fd);
  }
  connections_.erase(found);
}

}  // namespace hvd::rendezvous_protocol
