#include "horovod_cpp/transport/tcp/tcp_mesh.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <list>
#include <utility>

#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/secure/job_key.h"
#include "horovod_cpp/transport/tcp/handshake.h"

namespace hvd {
namespace {

constexpr auto kConnectPatience = std::chrono::seconds(2);
// The peer answers only when it has come to connect_tcp_mesh itself.
constexpr auto kAnswerPatience = std::chrono::seconds(5);
constexpr auto kStrangerPatience = std::chrono::seconds(10);
constexpr auto kRetryPause = std::chrono::milliseconds(50);
constexpr int kAcceptsAtOnce = 16;
constexpr std::size_t kMostStrangers = 256;

// Something of fixed size that arrives in pieces.
template <class T>
struct Arriving {
  T value{};
  std::size_t received_bytes = 0;

  bool is_complete() const { return received_bytes == sizeof(value); }
  // False: the other side closed the connection.
  bool advance(int socket) {
    while (!is_complete()) {
      const auto rest = std::as_writable_bytes(std::span(&value, 1)).subspan(received_bytes);
      const Progress progress = receive_some(socket, rest);
      if (!progress.is_open) return false;
      if (progress.bytes == 0) return true;
      received_bytes += progress.bytes;
    }
    return true;
  }
};

// What the rank that accepted answers.
struct Answer {
  Greeting greeting;
  KeyedHash proof{};
};
static_assert(sizeof(Answer) == sizeof(Greeting) + sizeof(KeyedHash));

// The way to one lower rank.
struct Dialing {
  enum class Phase { pausing, connecting, awaiting_answer, done };
  int peer = 0;
  std::vector<SocketAddress> addresses;
  std::size_t next_address = 0;
  Phase phase = Phase::pausing;
  UniqueFd socket;
  Greeting greeting;
  Arriving<Answer> answer;
  Deadline limit = Deadline::after({});  // of the phase
  std::string last_failure = "not tried yet";
};

// A connection that was accepted and has not yet proven itself.
struct Caller {
  UniqueFd socket;
  Arriving<Greeting> greeting;
  Greeting answer;
  Arriving<KeyedHash> proof;
  Deadline limit = Deadline::after(kStrangerPatience);
  bool is_greeted = false;  // the Greeting made sense and was answered
};

class Mesh {
 public:
  Mesh(int rank, int size, const TcpListener& listener, std::span<const TcpContact> contacts,
       const std::string& job_key, LinkPurpose purpose, const LossWatch& losses)
      : rank_(rank),
        size_(size),
        listener_(listener),
        job_key_(job_key),
        purpose_(purpose),
        losses_(losses),
        links_(static_cast<std::size_t>(size)) {
    for (int peer = 0; peer < rank; ++peer) {
      Dialing dialing;
      dialing.peer = peer;
      dialing.addresses = addresses_to_try(contacts[static_cast<std::size_t>(rank)],
                                           contacts[static_cast<std::size_t>(peer)]);
      if (dialing.addresses.empty())
        dialing.last_failure = "it has no address that can be reached from this host";
      dialings_.push_back(std::move(dialing));
    }
  }

  Result<std::vector<TcpLink>> complete(Deadline deadline) {
    while (true) {
      for (Dialing& dialing : dialings_) advance(dialing);
      accept_some();
      std::erase_if(callers_, [this](Caller& caller) { return !advance(caller); });
      if (missing().empty()) return std::move(links_);
      HVD_RETURN_IF_ERROR(no_room_);
      if (losses_.check) HVD_RETURN_IF_ERROR(losses_.check().with_prefix(text("rank ", rank_, ": ")));
      if (deadline.passed()) return explain_deadline();
      sleep(deadline);
    }
  }

 private:
  std::vector<int> missing() const {
    std::vector<int> out;
    for (int peer = 0; peer < size_; ++peer) {
      if (peer != rank_ && !links_[static_cast<std::size_t>(peer)].socket.is_open()) out.push_back(peer);
    }
    return out;
  }

  Status explain_deadline() const {
    std::string message = text("rank ", rank_, ": connecting over TCP: missing at the deadline:");
    for (const int peer : missing()) {
      message += text(
          " rank ", peer, " (",
          peer < rank_ ? dialings_[static_cast<std::size_t>(peer)].last_failure : "it did not connect", ")");
    }
    return Status::timed_out(message);
  }

  void give_up(Dialing& dialing, const std::string& why) {
    const std::size_t count = dialing.addresses.size();
    dialing.last_failure = dialing.addresses[dialing.next_address % count].text() + ": " + why;
    ++dialing.next_address;
    dialing.socket.reset();
    dialing.phase = Dialing::Phase::pausing;
    // The next address at once, a new round after a pause.
    dialing.limit = Deadline::after(dialing.next_address % count == 0 ? kRetryPause : kRetryPause * 0);
  }

  void advance(Dialing& dialing) {
    if (dialing.addresses.empty()) return;
    switch (dialing.phase) {
      case Dialing::Phase::done:
        return;
      case Dialing::Phase::pausing:
        if (dialing.limit.passed()) start(dialing);
        return;
      case Dialing::Phase::connecting:
        greet(dialing);
        return;
      case Dialing::Phase::awaiting_answer:
        read_answer(dialing);
        return;
    }
  }

  void start(Dialing& dialing) {
    auto socket = start_connect(dialing.addresses[dialing.next_address % dialing.addresses.size()]);
    if (!socket.is_ok()) {
      notice(socket.status());
      return give_up(dialing, socket.status().message());
    }
    dialing.socket = std::move(socket).value();
    dialing.phase = Dialing::Phase::connecting;
    dialing.limit = Deadline::after(kConnectPatience);
  }

  // Without descriptors there will be no connection.
  void notice(const Status& failure) {
    if (failure.code() == StatusCode::aborted)
      no_room_ = failure.with_prefix(text("rank ", rank_, ": connecting over TCP: "));
  }

  // A fresh socket takes so few bytes at once.
  template <class T>
  static bool sends(const UniqueFd& socket, const T& value) {
    return send_some(socket.get(), std::as_bytes(std::span(&value, 1))).bytes == sizeof(value);
  }

  void greet(Dialing& dialing) {
    pollfd entry{dialing.socket.get(), POLLOUT, 0};
    if (::poll(&entry, 1, 0) <= 0) {
      if (dialing.limit.passed()) give_up(dialing, "no answer to the attempt to connect");
      return;
    }
    if (const int error_number = pending_error(dialing.socket.get()); error_number != 0) {
      return give_up(dialing, error_text(error_number));
    }
    const auto greeting = make_greeting(rank_, dialing.peer, size_, purpose_);
    if (!greeting.is_ok()) return give_up(dialing, greeting.status().message());
    dialing.greeting = greeting.value();
    if (!sends(dialing.socket, dialing.greeting)) {
      return give_up(dialing, "it does not take the greeting");
    }
    dialing.answer = {};
    dialing.phase = Dialing::Phase::awaiting_answer;
    dialing.limit = Deadline::after(kAnswerPatience);
  }

  void read_answer(Dialing& dialing) {
    const int fd = dialing.socket.get();
    if (!dialing.answer.advance(fd))
      return give_up(dialing, "it closed the connection: another job, or no rank");
    if (!dialing.answer.is_complete()) {
      if (dialing.limit.passed()) give_up(dialing, "it did not answer the greeting");
      return;
    }
    const auto& [answer, proof] = dialing.answer.value;
    if (const Status checked = check_greeting(answer, rank_, size_, purpose_); !checked.is_ok()) {
      return give_up(dialing, checked.message());
    }
    if (answer.from != dialing.peer) return give_up(dialing, text("rank ", answer.from, " answers there"));
    if (!is_same_hash(proof, prove(job_key_, LinkSide::accepted, dialing.greeting, answer)))
      return give_up(dialing, "it has another job key");
    if (!sends(dialing.socket, prove(job_key_, LinkSide::connected, dialing.greeting, answer)))
      return give_up(dialing, "it closed the connection");
    links_[static_cast<std::size_t>(dialing.peer)] = {std::move(dialing.socket),
                                                      link_key(job_key_, dialing.greeting, answer)};
    dialing.phase = Dialing::Phase::done;
  }

  // A few at a time, so that those who have come are looked at in between, however many more there are.
  void accept_some() {
    for (int i = 0; i < kAcceptsAtOnce; ++i) {
      auto socket = accept_connection(listener_.socket());
      if (socket.is_ok() && !socket->is_open()) return;
      // More would be strangers who want to use up our descriptors.
      const bool is_full = !socket.is_ok() || callers_.size() >= 2 * links_.size() + kMostStrangers;
      if (!socket.is_ok() && callers_.empty()) notice(socket.status());
      if (is_full && !callers_.empty()) callers_.pop_front();
      if (!socket.is_ok()) return;
      callers_.emplace_back();
      callers_.back().socket = std::move(socket).value();
      if (!advance(callers_.back())) callers_.pop_back();
    }
  }

  // False: to be forgotten.
  bool advance(Caller& caller) {
    const int fd = caller.socket.get();
    if (caller.limit.passed()) return false;
    if (!caller.is_greeted) {
      if (!caller.greeting.advance(fd)) return false;
      if (!caller.greeting.is_complete()) return true;
      const Greeting& greeting = caller.greeting.value;
      if (!check_greeting(greeting, rank_, size_, purpose_).is_ok() || greeting.from < rank_) return false;
      const auto answer = make_greeting(rank_, greeting.from, size_, purpose_);
      if (!answer.is_ok()) return false;
      caller.answer = answer.value();
      if (!sends(caller.socket,
                 Answer{caller.answer, prove(job_key_, LinkSide::accepted, greeting, caller.answer)}))
        return false;
      caller.is_greeted = true;
    }
    const bool is_open = caller.proof.advance(fd);
    if (!caller.proof.is_complete()) return is_open;
    const Greeting& greeting = caller.greeting.value;
    if (is_same_hash(caller.proof.value, prove(job_key_, LinkSide::connected, greeting, caller.answer))) {
      // A rank proves itself on one connection only.
      TcpLink& link = links_[static_cast<std::size_t>(greeting.from)];
      if (!link.socket.is_open())
        link = {std::move(caller.socket), link_key(job_key_, greeting, caller.answer)};
    }
    return false;
  }

  void sleep(Deadline deadline) {
    std::vector<pollfd> entries{{listener_.socket(), POLLIN, 0}, {losses_.fd ? losses_.fd() : -1, POLLIN, 0}};
    for (const Dialing& dialing : dialings_) {
      if (dialing.phase == Dialing::Phase::done || dialing.addresses.empty()) continue;
      deadline = deadline.earlier(dialing.limit);
      if (!dialing.socket.is_open()) continue;
      const short events = dialing.phase == Dialing::Phase::connecting ? POLLOUT : POLLIN;
      entries.push_back({dialing.socket.get(), events, 0});
    }
    for (const Caller& caller : callers_) {
      deadline = deadline.earlier(caller.limit);
      entries.push_back({caller.socket.get(), POLLIN, 0});
    }
    // Whatever it returns, the next round looks at everything.
    ::poll(entries.data(), entries.size(), deadline.poll_timeout_ms());
  }

  const int rank_;
  const int size_;
  const TcpListener& listener_;
  const std::string& job_key_;
  const LinkPurpose purpose_;
  const LossWatch& losses_;
  std::vector<TcpLink> links_;
  std::vector<Dialing> dialings_;
  std::list<Caller> callers_;
  Status no_room_;
};

}  // namespace

Result<std::vector<TcpLink>> connect_tcp_links(int rank, int size, const TcpListener& listener,
                                               std::span<const TcpContact> contacts,
                                               const std::string& job_key, LinkPurpose purpose,
                                               Deadline deadline, const LossWatch& losses) {
  if (static_cast<std::size_t>(size) != contacts.size() || rank < 0 || rank >= size) {
    return Status::invalid_argument(
        text("rank ", rank, " of ", size, ": connecting over TCP: ", contacts.size(), " contacts"));
  }
  if (job_key.size() > kMaxJobKeyBytes) {
    return Status::invalid_argument(
        text("the job key has ", job_key.size(), " bytes; at most ", kMaxJobKeyBytes, " are possible"));
  }
  return Mesh(rank, size, listener, contacts, job_key, purpose, losses).complete(deadline);
}

}  // namespace hvd
