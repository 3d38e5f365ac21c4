#include "horovod_cpp/rendezvous/server.h"

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/rendezvous/connection.h"
#include "horovod_cpp/rendezvous/entrance.h"
#include "horovod_cpp/rendezvous/protocol.h"

namespace hvd {
namespace {

// The messages are this file's vocabulary.
using namespace rendezvous_protocol;  // NOLINT(google-build-using-namespace)
using Clock = std::chrono::steady_clock;

// Connections that have proven nothing, besides two for each rank.
constexpr std::size_t kMostStrangers = 256;

}  // namespace

class RendezvousServer::Body {
 public:
  static Result<std::unique_ptr<Body>> open(const std::string& bind_address, int size,
                                            const std::string& job_key, const LossPolicy& losses,
                                            const RendezvousLimits& limits) {
    std::unique_ptr<Body> out(new Body(size, losses));
    Body& body = *out;
    auto entrance = Entrance::open(bind_address, tls_key(job_key), limits,
                                   2 * static_cast<std::size_t>(size) + kMostStrangers,
                                   {[&body](Connection& connection) { return body.serve(connection); },
                                    [&body](Connection& connection) { body.leave(connection); },
                                    [&body] {
                                      body.close_round_if_over();
                                      return !body.membership_.patience_ends().is_never();
                                    }});
    HVD_RETURN_IF_ERROR(entrance.status());
    body.entrance_ = std::move(entrance).value();
    return out;
  }

  const Entrance& entrance() const { return *entrance_; }
  const Membership& membership() const { return membership_; }
  void handle_events() { entrance_->handle_events(); }

  void rank_ended(int rank, bool well) {
    membership_.ended(rank, well);
    close_round_if_over();
    tell_who_connects(rank, well);
  }

 private:
  struct Place {
    int socket = -1;  // of the rank that waits there
    Bytes payload;
  };

  Body(int size, const LossPolicy& losses)
      : membership_(size, losses), places_(static_cast<std::size_t>(size)) {}

  // False: the connection is of no more use.
  bool serve(Connection& connection) {
    bool is_alive = true;
    while (is_alive && !connection.is_ending) {
      const auto outcome = connection.reader.advance(connection.socket);
      if (outcome == MessageReader::Outcome::incomplete) break;
      is_alive = handle_outcome(connection, outcome);
    }
    if (is_alive && connection.is_ending) is_alive = connection.discard();
    return is_alive;
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
      membership_.refused(hello.status().message());
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
    if (hello->after_loss) entrance_->wake_up_later();
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
        entrance_->end_with(leave_place(rank), loss);
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
      entrance_->flush(connection);
    }
  }

  Connection& leave_place(int rank) {
    return entrance_->at(std::exchange(places_[static_cast<std::size_t>(rank)], Place()).socket);
  }

  // Ranks that have met and wait for a connection to one that has ended would wait until their deadline.
  void tell_who_connects(int lost, bool well) {
    const auto loss = std::make_shared<const Bytes>(encode_loss(words_of_end(lost, well)));
    entrance_->for_each([&](Connection& connection) {
      if (connection.has_met) entrance_->end_with(connection, loss);
    });
  }

  void send(Connection& connection, Bytes message) {
    // A rank that asks and does not read would make us keep answers for ever.
    if (connection.unsent.size() < 4)
      connection.unsent.push_back(std::make_shared<const Bytes>(std::move(message)));
  }
  void end_with(Connection& connection, Bytes message) {
    entrance_->end_with(connection, std::make_shared<const Bytes>(std::move(message)));
  }

  void leave(Connection& connection) {
    if (connection.rank < 0) return;
    places_[static_cast<std::size_t>(connection.rank)] = Place();
    membership_.leave(connection.rank);
  }

  std::unique_ptr<Entrance> entrance_;
  Membership membership_;
  std::vector<Place> places_;  // by rank
  int rounds_completed_ = 0;
};

Result<std::unique_ptr<RendezvousServer>> RendezvousServer::listen(const std::string& bind_address, int size,
                                                                   const std::string& job_key,
                                                                   LossPolicy losses,
                                                                   RendezvousLimits limits) {
  if (size < 1)
    return Status::invalid_argument(text("rendezvous server: ", size, " ranks; at least 1 is needed"));
  auto body = Body::open(bind_address, size, job_key, losses, limits);
  if (!body.is_ok()) return body.status().with_prefix("rendezvous server: ");
  return std::unique_ptr<RendezvousServer>(new RendezvousServer(std::move(body).value()));
}

RendezvousServer::RendezvousServer(std::unique_ptr<Body> body) : body_(std::move(body)) {}
RendezvousServer::~RendezvousServer() = default;
const std::string& RendezvousServer::address() const { return body_->entrance().address(); }
int RendezvousServer::event_fd() const { return body_->entrance().event_fd(); }
void RendezvousServer::handle_events() { body_->handle_events(); }
void RendezvousServer::rank_ended(int rank, bool well) { body_->rank_ended(rank, well); }
bool RendezvousServer::can_go_on() const { return body_->membership().can_go_on(); }
Attendance RendezvousServer::attendance() const { return body_->membership().attendance(); }
std::vector<int> RendezvousServer::given_up() const { return body_->membership().given_up(); }
int RendezvousServer::strangers_refused() const { return body_->entrance().strangers_refused(); }

}  // namespace hvd
