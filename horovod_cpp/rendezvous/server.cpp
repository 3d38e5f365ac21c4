#include "horovod_cpp/rendezvous/server.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "horovod_cpp/base/log.h"
#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/base/unique_fd.h"
#include "horovod_cpp/rendezvous/bind_address.h"
#include "horovod_cpp/rendezvous/connection.h"
#include "horovod_cpp/rendezvous/protocol.h"

namespace hvd {
namespace {

// The messages are this file's vocabulary.
using namespace rendezvous_protocol;  // NOLINT(google-build-using-namespace)
using Clock = std::chrono::steady_clock;

}  // namespace

class RendezvousServer::Body {
 public:
  Body(UniqueFd listener, UniqueFd epoll, UniqueFd timer, std::string address, int size,
       const std::string& job_key, const LossPolicy& losses, const RendezvousLimits& limits)
      : listener_(std::move(listener)),
        epoll_(std::move(epoll)),
        timer_(std::move(timer)),
        address_(std::move(address)),
        tls_key_(tls_key(job_key)),
        limits_(limits),
        membership_(size, losses),
        places_(static_cast<std::size_t>(size)) {}

  const std::string& address() const { return address_; }
  int event_fd() const { return epoll_.get(); }
  const Membership& membership() const { return membership_; }
  int strangers_refused() const { return strangers_refused_; }

  void rank_ended(int rank, bool well) {
    membership_.ended(rank, well);
    close_round_if_over();
    tell_who_connects(rank, well);
  }

  Status start() {
    HVD_RETURN_IF_ERROR(watch(EPOLL_CTL_ADD, listener_.get(), EPOLLIN));
    return watch(EPOLL_CTL_ADD, timer_.get(), EPOLLIN);
  }

  void handle_events() {
    std::array<epoll_event, 64> events{};
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == listener_.get()) {
        accept_all();
      } else if (fd == timer_.get()) {
        handle_timer();
      } else {
        serve(fd);
      }
    }
  }

 private:
  struct Place {
    int socket = -1;  // of the rank that waits there
    Bytes payload;
  };

  Status watch(int operation, int fd, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    if (::epoll_ctl(epoll_.get(), operation, fd, &event) == 0) return {};
    return Status::unavailable("rendezvous server: epoll_ctl failed: " + error_text(errno));
  }

  // Ticks every second (sooner if the patience is less) while somebody has to be watched for silence, or accepting is paused.
  void set_timer(bool on) {
    if (on == timer_is_on_) return;
    itimerspec spec{};
    const auto tick = std::min<std::chrono::nanoseconds>(std::chrono::seconds(1), limits_.patience);
    const auto seconds = std::chrono::floor<std::chrono::seconds>(tick);
    if (on) spec.it_value = spec.it_interval = {seconds.count(), (tick - seconds).count()};
    if (::timerfd_settime(timer_.get(), 0, &spec, nullptr) == 0) timer_is_on_ = on;
  }

  void accept_all() {
    while (true) {
      auto socket = accept_connection(listener_.get());
      if (!socket.is_ok()) {
        // No descriptors left: try again at the next tick instead of spinning.
        accepting_is_paused_ = watch(EPOLL_CTL_MOD, listener_.get(), 0).is_ok();
        set_timer(true);
        return;
      }
      if (!socket->is_open()) return;
      const int fd = socket->get();
      if (unproven() >= 2 * places_.size() + 64 || !watch(EPOLL_CTL_ADD, fd, EPOLLIN).is_ok()) continue;
      auto secure = SecureSocket::over_tls(std::move(socket).value(), SecureSocket::Side::accepts, tls_key_);
      if (!secure.is_ok()) continue;
      Connection& connection = connections_[fd];
      connection.socket = std::move(secure).value();
      connection.expires = Clock::now() + limits_.patience;
      set_timer(true);
    }
  }

  std::size_t unproven() const {
    std::size_t count = 0;
    for (const auto& [fd, connection] : connections_) count += connection.can_expire() ? 1 : 0;
    return count;
  }

  void handle_timer() {
    std::uint64_t ticks = 0;
    [[maybe_unused]] const auto ignored = ::read(timer_.get(), &ticks, sizeof(ticks));
    const auto now = Clock::now();
    std::erase_if(connections_, [&](const auto& entry) {
      const Connection& connection = entry.second;
      if (!connection.can_expire() || connection.expires > now) return false;
      if (!connection.is_proven) refuse_stranger("it was not through with the TLS handshake in time");
      return true;
    });
    if (accepting_is_paused_ && watch(EPOLL_CTL_MOD, listener_.get(), EPOLLIN).is_ok())
      accepting_is_paused_ = false;
    close_round_if_over();
    set_timer(unproven() > 0 || accepting_is_paused_ || !membership_.patience_ends().is_never());
  }

  void serve(int fd) {
    const auto found = connections_.find(fd);
    if (found == connections_.end()) return;
    Connection& connection = found->second;
    if (!connection.is_proven && !prove(connection)) return;
    bool is_alive = true;
    while (is_alive && !connection.is_ending) {
      const auto outcome = connection.reader.advance(connection.socket);
      if (outcome == MessageReader::Outcome::incomplete) break;
      is_alive = handle_outcome(connection, outcome);
    }
    if (is_alive && connection.is_ending) is_alive = connection.discard();
    if (is_alive) {
      flush(connection);
    } else {
      drop(fd);
    }
  }

  // Takes the handshake as far as it goes now. False: there is more to come, or the connection is gone.
  bool prove(Connection& connection) {
    const int fd = connection.socket.fd();
    const auto shaken = connection.socket.handshake();
    if (!shaken.is_ok()) {
      refuse_stranger(shaken.status().message());
      drop(fd);
      return false;
    }
    connection.is_proven = shaken.value();
    const std::uint32_t events = connection.socket.wanted_events() == POLLOUT ? EPOLLOUT : EPOLLIN;
    if (!connection.is_proven && !watch(EPOLL_CTL_MOD, fd, events).is_ok()) drop(fd);
    return shaken.value();
  }

  void refuse_stranger(const std::string& why) {
    ++strangers_refused_;
    if (strangers_refused_ > limits_.logged_strangers) return;
    log_.warning(
        text("rendezvous at ", address_, ": refused a connection that does not belong to the job: ", why,
             strangers_refused_ == limits_.logged_strangers ? " (further ones are not reported)" : ""));
  }

  // False: the connection is of no more use.
  bool handle_outcome(Connection& connection, MessageReader::Outcome outcome) {
    if (outcome == MessageReader::Outcome::message) {
      handle_message(connection);
      return true;
    }
    if (outcome != MessageReader::Outcome::too_long || connection.rank >= 0) return false;
    end_with(connection, encode_refusal(text("the message is too long: at most ", kMaxPayloadBytes,
                                             " bytes can be contributed")));
    return true;
  }

  void handle_message(Connection& connection) {
    if (connection.has_met) return;  // asked before it knew
    if (connection.rank >= 0) {
      if (connection.reader.type() == MessageType::ask) send(connection, encode(membership_.attendance()));
      return;
    }
    if (connection.reader.type() != MessageType::hello) {
      end_with(connection, encode_refusal("a greeting was expected"));
      return;
    }
    auto hello = check_hello(connection.reader.body(), membership_.size());
    if (!hello.is_ok()) {
      end_with(connection, encode_refusal(hello.status().message()));
      return;
    }
    const Status admitted = membership_.come(hello->rank, hello->after_loss, Clock::now());
    if (!admitted.is_ok()) {
      end_with(connection, encode_refusal(admitted.message()));
      return;
    }
    connection.rank = hello->rank;
    places_[static_cast<std::size_t>(hello->rank)] = {connection.socket.fd(), std::move(hello->payload)};
    if (hello->after_loss) set_timer(true);
    close_round_if_over();
  }

  // Complete, or beyond hope.
  void close_round_if_over() {
    const auto now = Clock::now();
    if (const Status hopeless = membership_.hopeless(now); !hopeless.is_ok()) {
      const auto loss = std::make_shared<const Bytes>(encode_loss(hopeless.message()));
      for (int rank = 0; rank < membership_.size(); ++rank) {
        if (!membership_.is_waiting(rank)) continue;
        membership_.leave(rank);
        end_with(leave_place(rank), loss);
      }
    }
    if (!membership_.is_complete(now)) return;
    Gathered gathered;
    gathered.round = static_cast<std::uint32_t>(rounds_completed_++);
    gathered.ranks = membership_.close();
    for (const int rank : gathered.ranks) {
      gathered.payloads.push_back(std::move(places_[static_cast<std::size_t>(rank)].payload));
    }
    const auto all = std::make_shared<const Bytes>(encode(gathered));
    for (const int rank : gathered.ranks) {
      Connection& connection = leave_place(rank);
      connection.rank = -1;
      connection.has_met = true;
      connection.unsent.push_back(all);
      flush(connection);
    }
  }

  Connection& leave_place(int rank) {
    return connections_.at(std::exchange(places_[static_cast<std::size_t>(rank)], Place()).socket);
  }

  // Ranks that have met and wait for a connection to one that has ended would wait until their deadline.
  void tell_who_connects(int lost, bool well) {
    const auto loss = std::make_shared<const Bytes>(encode_loss(words_of_end(lost, well)));
    for (auto& [fd, connection] : connections_) {
      if (connection.has_met) end_with(connection, loss);
    }
  }

  void send(Connection& connection, Bytes message) {
    // A rank that asks and does not read would make us keep answers for ever.
    if (connection.unsent.size() < 4)
      connection.unsent.push_back(std::make_shared<const Bytes>(std::move(message)));
  }
  void end_with(Connection& connection, std::shared_ptr<const Bytes> message) {
    connection.rank = -1;
    connection.has_met = false;
    connection.is_ending = true;
    connection.expires = Clock::now() + limits_.patience;
    connection.unsent.push_back(std::move(message));
    set_timer(true);
    flush(connection);
  }
  void end_with(Connection& connection, Bytes message) {
    end_with(connection, std::make_shared<const Bytes>(std::move(message)));
  }

  void flush(Connection& connection) {
    connection.flush();
    const bool is_flushed = connection.unsent.empty();
    const std::uint32_t events = is_flushed ? EPOLLIN : EPOLLIN | EPOLLOUT;
    if (!watch(EPOLL_CTL_MOD, connection.socket.fd(), events).is_ok()) return;
  }

  void drop(int fd) {
    const auto found = connections_.find(fd);
    if (found == connections_.end()) return;
    if (found->second.rank >= 0) {
      places_[static_cast<std::size_t>(found->second.rank)] = Place();
      membership_.leave(found->second.rank);
    }
    connections_.erase(found);
  }

  const UniqueFd listener_;
  const UniqueFd epoll_;
  const UniqueFd timer_;
  const std::string address_;
  const KeyedHash tls_key_;
  const RendezvousLimits limits_;
  const Log log_;
  Membership membership_;
  std::vector<Place> places_;  // by rank
  std::map<int, Connection> connections_;
  int rounds_completed_ = 0;
  int strangers_refused_ = 0;
  bool timer_is_on_ = false;
  bool accepting_is_paused_ = false;
};

Result<std::unique_ptr<RendezvousServer>> RendezvousServer::listen(const std::string& bind_address, int size,
                                                                   const std::string& job_key,
                                                                   LossPolicy losses,
                                                                   RendezvousLimits limits) {
  if (size < 1)
    return Status::invalid_argument(text("rendezvous server: ", size, " ranks; at least 1 is needed"));
  const auto address = parse_bind_address(bind_address);
  if (!address.is_ok()) return address.status().with_prefix("rendezvous server: ");
  auto listener = listen_tcp(address.value(), 4096);
  if (!listener.is_ok()) return listener.status().with_prefix("rendezvous server: ");
  const auto bound = SocketAddress::of(listener->get());
  if (!bound.is_ok()) return bound.status();
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!epoll.is_open() || !timer.is_open()) {
    return Status::unavailable("rendezvous server: no descriptors: " + error_text(errno));
  }
  auto body = std::make_unique<Body>(std::move(listener).value(), std::move(epoll), std::move(timer),
                                     bound.value().text(), size, job_key, losses, limits);
  HVD_RETURN_IF_ERROR(body->start());
  return std::unique_ptr<RendezvousServer>(new RendezvousServer(std::move(body)));
}

RendezvousServer::RendezvousServer(std::unique_ptr<Body> body) : body_(std::move(body)) {}
RendezvousServer::~RendezvousServer() = default;
const std::string& RendezvousServer::address() const { return body_->address(); }
int RendezvousServer::event_fd() const { return body_->event_fd(); }
void RendezvousServer::handle_events() { body_->handle_events(); }
void RendezvousServer::rank_ended(int rank, bool well) { body_->rank_ended(rank, well); }
bool RendezvousServer::can_go_on() const { return body_->membership().can_go_on(); }
Attendance RendezvousServer::attendance() const { return body_->membership().attendance(); }
std::vector<int> RendezvousServer::given_up() const { return body_->membership().given_up(); }
int RendezvousServer::strangers_refused() const { return body_->strangers_refused(); }

}  // namespace hvd
