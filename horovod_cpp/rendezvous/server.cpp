#include "horovod_cpp/rendezvous/server.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/base/unique_fd.h"
#include "horovod_cpp/rendezvous/protocol.h"

namespace hvd {
namespace {

// The messages are this file's vocabulary.
using namespace rendezvous_protocol;  // NOLINT(google-build-using-namespace)
using Clock = std::chrono::steady_clock;

// How long a connection may stay without a valid hello, or with its last answer unread.
constexpr auto kPatience = std::chrono::seconds(10);

struct Connection {
  UniqueFd socket;
  MessageReader reader{kMaxHelloBytes};
  int rank = -1;           // >= 0: waits for the others
  bool is_ending = false;  // gets its last answer; what it still sends is discarded
  Clock::time_point expires;
  std::deque<std::shared_ptr<const Bytes>> unsent;
  std::size_t sent_of_first = 0;

  bool can_expire() const { return rank < 0; }
};

}  // namespace

class RendezvousServer::Body {
 public:
  Body(UniqueFd listener, UniqueFd epoll, UniqueFd timer, std::string address, int size, std::string job_key,
       LossPolicy losses)
      : listener_(std::move(listener)),
        epoll_(std::move(epoll)),
        timer_(std::move(timer)),
        address_(std::move(address)),
        job_key_(std::move(job_key)),
        membership_(size, losses),
        places_(static_cast<std::size_t>(size)) {}

  const std::string& address() const { return address_; }
  int event_fd() const { return epoll_.get(); }
  const Membership& membership() const { return membership_; }

  void rank_ended(int rank, bool well) {
    membership_.ended(rank, well);
    close_round_if_over();
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

  // Ticks every second while somebody has to be watched for silence, or accepting is paused.
  void set_timer(bool on) {
    if (on == timer_is_on_) return;
    itimerspec spec{};
    if (on) spec.it_value.tv_sec = spec.it_interval.tv_sec = 1;
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
      Connection& connection = connections_[fd];
      connection.socket = std::move(socket).value();
      connection.expires = Clock::now() + kPatience;
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
      return entry.second.can_expire() && entry.second.expires <= now;
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
    bool is_alive = true;
    while (is_alive && !connection.is_ending) {
      const auto outcome = connection.reader.advance(fd);
      if (outcome == MessageReader::Outcome::incomplete) break;
      is_alive = handle_outcome(connection, outcome);
    }
    if (is_alive && connection.is_ending) is_alive = discard(fd);
    if (is_alive) {
      flush(connection);
    } else {
      drop(fd);
    }
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

  // Reads what comes after our last answer was decided,
  // a bounded amount at a time. False once the other side has closed.
  static bool discard(int fd) {
    std::array<std::byte, 16384> scratch{};
    for (int i = 0; i < 16; ++i) {
      const Progress progress = receive_some(fd, scratch);
      if (!progress.is_open) return false;
      if (progress.bytes == 0) break;
    }
    return true;
  }

  void handle_message(Connection& connection) {
    if (connection.rank >= 0) {
      if (connection.reader.type() == MessageType::ask) send(connection, encode(membership_.attendance()));
      return;
    }
    if (connection.reader.type() != MessageType::hello) {
      end_with(connection, encode_refusal("a greeting was expected"));
      return;
    }
    auto hello = check_hello(connection.reader.body(), job_key_, membership_.size());
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
    places_[static_cast<std::size_t>(hello->rank)] = {connection.socket.get(), std::move(hello->payload)};
    if (hello->after_loss) set_timer(true);
    close_round_if_over();
  }

  // Complete, or beyond hope.
  void close_round_if_over() {
    const auto now = Clock::now();
    if (const Status hopeless = membership_.hopeless(now); !hopeless.is_ok()) {
      const auto refusal = std::make_shared<const Bytes>(encode_refusal(hopeless.message()));
      for (int rank = 0; rank < membership_.size(); ++rank) {
        if (!membership_.is_waiting(rank)) continue;
        membership_.leave(rank);
        answer(rank, refusal);
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
    for (const int rank : gathered.ranks) answer(rank, all);
  }

  void answer(int rank, const std::shared_ptr<const Bytes>& message) {
    Place& place = places_[static_cast<std::size_t>(rank)];
    Connection& connection = connections_.at(place.socket);
    place = Place();
    end_with(connection, message);
    flush(connection);
  }

  void send(Connection& connection, Bytes message) {
    // A rank that asks and does not read would make us keep answers for ever.
    if (connection.unsent.size() < 4)
      connection.unsent.push_back(std::make_shared<const Bytes>(std::move(message)));
  }
  void end_with(Connection& connection, std::shared_ptr<const Bytes> message) {
    connection.rank = -1;
    connection.is_ending = true;
    connection.expires = Clock::now() + kPatience;
    connection.unsent.push_back(std::move(message));
    set_timer(true);
  }
  void end_with(Connection& connection, Bytes message) {
    end_with(connection, std::make_shared<const Bytes>(std::move(message)));
  }

  // Sends what the socket takes. A lost connection shows when it is read.
  void flush(Connection& connection) {
    const int fd = connection.socket.get();
    while (!connection.unsent.empty()) {
      const auto rest = std::span(*connection.unsent.front()).subspan(connection.sent_of_first);
      const Progress progress = send_some(fd, rest);
      if (progress.bytes == 0) break;
      connection.sent_of_first += progress.bytes;
      if (connection.sent_of_first < connection.unsent.front()->size()) continue;
      connection.unsent.pop_front();
      connection.sent_of_first = 0;
    }
    const bool is_flushed = connection.unsent.empty();
    // The rank closes first: a close with unread questions in the
    // socket would reset it and might destroy our last answer.
    if (is_flushed && connection.is_ending) ::shutdown(fd, SHUT_WR);
    if (!watch(EPOLL_CTL_MOD, fd, is_flushed ? EPOLLIN : EPOLLIN | EPOLLOUT).is_ok()) return;
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
  const std::string job_key_;
  Membership membership_;
  std::vector<Place> places_;  // by rank
  std::map<int, Connection> connections_;
  int rounds_completed_ = 0;
  bool timer_is_on_ = false;
  bool accepting_is_paused_ = false;
};

Result<std::unique_ptr<RendezvousServer>> RendezvousServer::listen(const std::string& bind_address, int size,
                                                                   std::string job_key, LossPolicy losses) {
  if (size < 1)
    return Status::invalid_argument(text("rendezvous server: ", size, " ranks; at least 1 is needed"));
  auto address = SocketAddress::parse(bind_address);
  if (!address.is_ok()) {
    const bool is_bare_ipv6 =
        bind_address.find(':') != std::string::npos && bind_address.find('[') == std::string::npos;
    if (const auto with_port =
            SocketAddress::parse(is_bare_ipv6 ? "[" + bind_address + "]:0" : bind_address + ":0");
        with_port.is_ok()) {
      address = with_port;
    }
  }
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
                                     bound.value().text(), size, std::move(job_key), losses);
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
std::vector<int> RendezvousServer::given_up() const { return body_->membership().given_up(); }

}  // namespace hvd
