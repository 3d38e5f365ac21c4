#include "horovod_cpp/rendezvous/client.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "horovod_cpp/base/rank_list.h"
#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/rendezvous/address_lookup.h"
#include "horovod_cpp/rendezvous/protocol.h"

namespace hvd {

class LossLine::Body {
 public:
  explicit Body(SecureSocket socket) : socket_(std::move(socket)) {}

  int fd() const { return socket_.fd(); }
  Status check() {
    if (!socket_.is_open()) return {};
    switch (reader_.advance(socket_)) {
      case rendezvous_protocol::MessageReader::Outcome::incomplete:
        return {};
      case rendezvous_protocol::MessageReader::Outcome::message:
        if (reader_.type() == rendezvous_protocol::MessageType::lost)
          return Status::aborted(rendezvous_protocol::decode_reason(reader_.body()));
        return {};
      default:
        socket_ = SecureSocket();
        return {};
    }
  }

 private:
  SecureSocket socket_;
  rendezvous_protocol::MessageReader reader_{4096};
};

LossLine::LossLine() = default;
LossLine::LossLine(std::unique_ptr<Body> body) : body_(std::move(body)) {}
LossLine::LossLine(LossLine&&) noexcept = default;
LossLine& LossLine::operator=(LossLine&&) noexcept = default;
LossLine::~LossLine() = default;
int LossLine::fd() const { return body_ ? body_->fd() : -1; }
Status LossLine::check() { return body_ ? body_->check() : Status(); }

namespace {

// The messages are this file's vocabulary.
using namespace rendezvous_protocol;  // NOLINT(google-build-using-namespace)

// How often the server is asked who is missing, so that a passed deadline can be explained.
constexpr auto kAskInterval = std::chrono::milliseconds(200);
constexpr auto kRetryInterval = std::chrono::milliseconds(50);
// For one of several addresses of a host.
constexpr auto kConnectPatience = std::chrono::seconds(2);
// A server that answers no question for so long is gone, whatever its socket says.
constexpr auto kLongestSilence = std::chrono::seconds(30);
// So long a server may close connections within the handshake: one that strangers flood makes room for new ones.
constexpr auto kClosedPatience = std::chrono::seconds(10);

// One attempt; unavailable if it failed in a way that another attempt may mend.
Result<UniqueFd> connect_once(const SocketAddress& address, Deadline deadline) {
  auto socket = start_connect(address);
  if (!socket.is_ok()) return socket;
  const auto ready = wait_for_events(socket->get(), POLLOUT, deadline);
  if (!ready.is_ok()) return ready.status();
  if (!ready.value()) return Status::unavailable("cannot connect: no answer");
  if (const int error_number = pending_error(socket->get()); error_number != 0) {
    return Status::unavailable("cannot connect: " + error_text(error_number));
  }
  return socket;
}

// One of a host's addresses after the other.
Result<UniqueFd> connect_to_one(const std::vector<SocketAddress>& addresses, Deadline deadline) {
  Result<UniqueFd> socket = Status::unavailable("no address");
  for (const SocketAddress& address : addresses) {
    const Deadline limit =
        addresses.size() == 1 ? deadline : deadline.earlier(Deadline::after(kConnectPatience));
    socket = connect_once(address, limit);
    if (socket.is_ok() || socket.status().code() != StatusCode::unavailable) return socket;
  }
  return socket;
}

Result<UniqueFd> connect_until(const std::string& address, Deadline deadline) {
  while (true) {
    const auto addresses = look_up_address(address);
    auto socket = addresses.is_ok() ? connect_to_one(addresses.value(), deadline)
                                    : Result<UniqueFd>(addresses.status());
    if (socket.is_ok() || socket.status().code() != StatusCode::unavailable) return socket;
    if (deadline.passed())
      return Status::timed_out(socket.status().message() + " before the deadline; is the launcher alive?");
    std::this_thread::sleep_until(Deadline::after(kRetryInterval).earlier(deadline).when());
  }
}

// Says once whom this rank waits for, if it is the first of those who wait.
class Remark {
 public:
  Remark(int rank, Deadline deadline, const MeetingRemark& say)
      : rank_(rank), began_(Deadline::Clock::now()), say_(say) {
    if (say && !deadline.is_never()) due_ = Deadline::at(began_ + *deadline.remaining() / 3);
  }

  void look(const Attendance& attendance) {
    if (!due_.passed()) return;
    due_ = Deadline::never();
    if (attendance.waiting.empty() || attendance.waiting.front() != rank_) return;
    std::vector<int> absent = attendance.missing;
    absent.insert(absent.end(), attendance.gone.begin(), attendance.gone.end());
    std::sort(absent.begin(), absent.end());
    const auto waited = std::chrono::round<std::chrono::seconds>(Deadline::Clock::now() - began_);
    if (!absent.empty())
      say_(text("waiting for ", name_of_ranks(absent), " for ", waited.count(),
                " s: not all ranks have come to hvd::init() yet"));
  }

 private:
  const int rank_;
  const Deadline::Clock::time_point began_;
  const MeetingRemark& say_;
  Deadline due_ = Deadline::never();
};

std::string list_of(const std::vector<int>& ranks) {
  std::string out;
  for (const auto rank : ranks) out += (out.empty() ? "" : ", ") + std::to_string(rank);
  return out;
}

Status explain_deadline(const std::optional<Attendance>& attendance, int size) {
  if (!attendance) return Status::timed_out("the server did not answer before the deadline");
  std::string message = text(attendance->waiting.size(), " of ", size,
                             " ranks had come before the deadline (", list_of(attendance->waiting), ")");
  if (!attendance->missing.empty()) message += "; missing: " + list_of(attendance->missing);
  if (!attendance->gone.empty()) message += "; came and broke off: " + list_of(attendance->gone);
  message +=
      ". Every rank must call hvd::init(); if they only come late, raise HVD_START_TIMEOUT (hvdrun "
      "--start-timeout)";
  return Status::timed_out(message);
}

// The server refuses who does not know the key without a word of ours: what is left of the handshake is an alert or a closed connection.
Status explain_handshake(const Status& why) {
  if (why.code() == StatusCode::timed_out) return why;
  return Status::invalid_argument(
      text("the TLS handshake failed (", why.message(),
           "): wrong job key, what answers there is another job or no rendezvous server, or the launcher "
           "has another version of horovod_cpp"));
}

// The connection, through with the handshake.
Result<SecureSocket> connect_securely(const std::string& address, const std::string& job_key,
                                      Deadline deadline) {
  const Deadline closed_until = deadline.earlier(Deadline::after(kClosedPatience));
  while (true) {
    auto connection = connect_until(address, deadline);
    if (!connection.is_ok()) return connection.status();
    auto socket =
        SecureSocket::over_tls(std::move(connection).value(), SecureSocket::Side::connects, tls_key(job_key));
    if (!socket.is_ok()) return socket;
    const Status shaken = handshake_until(*socket, deadline);
    if (shaken.is_ok()) return socket;
    if (shaken.code() != StatusCode::aborted || closed_until.passed()) return explain_handshake(shaken);
    std::this_thread::sleep_until(Deadline::after(kRetryInterval).earlier(closed_until).when());
  }
}

Result<Company> await_answer(SecureSocket& socket, int size, Deadline deadline, Remark& remark) {
  MessageReader reader(max_answer_bytes(size));
  std::optional<Attendance> attendance;
  Deadline next_ask = Deadline::after({});
  Deadline silence_ends = Deadline::after(kLongestSilence);
  while (true) {
    if (deadline.passed()) return explain_deadline(attendance, size);
    if (silence_ends.passed()) {
      return Status::aborted(text("the server has not answered for ", kLongestSilence.count(), " s"));
    }
    if (next_ask.passed()) {
      // A failure shows at the next read, after what the server may have said before.
      [[maybe_unused]] const Status ignored = socket.send_all(encode_ask(), deadline);
      next_ask = Deadline::after(kAskInterval);
    }
    switch (reader.advance(socket)) {
      case MessageReader::Outcome::incomplete: {
        const auto ready = wait_for_events(socket.fd(), POLLIN, deadline.earlier(next_ask));
        if (!ready.is_ok()) return ready.status();
        continue;
      }
      case MessageReader::Outcome::closed:
        return Status::aborted("the server closed the connection");
      case MessageReader::Outcome::foreign:
      case MessageReader::Outcome::too_long:
        return Status::unavailable("what answers there is not a rendezvous server");
      case MessageReader::Outcome::message:
        break;
    }
    if (reader.type() == MessageType::refused)
      return Status::invalid_argument("refused: " + decode_reason(reader.body()));
    if (reader.type() == MessageType::lost) return Status::shut_down(decode_reason(reader.body()));
    if (reader.type() == MessageType::gathered) {
      auto gathered = decode_gathered(reader.body(), size);
      if (!gathered.is_ok()) return gathered.status();
      return Company{std::move(gathered->ranks), std::move(gathered->payloads),
                     LossLine(std::make_unique<LossLine::Body>(std::move(socket)))};
    }
    if (reader.type() == MessageType::progress) {
      auto decoded = decode_attendance(reader.body());
      if (!decoded.is_ok()) return decoded.status();
      attendance = std::move(decoded).value();
      remark.look(*attendance);
      silence_ends = Deadline::after(kLongestSilence);
    }
  }
}

Result<Company> meet(const std::string& address, const std::string& job_key, const Hello& hello,
                     Deadline deadline, const MeetingRemark& say) {
  Remark remark(hello.rank, deadline, say);
  if (hello.payload.size() > kMaxPayloadBytes) {
    return Status::invalid_argument(text("the payload has ", hello.payload.size(), " bytes; at most ",
                                         kMaxPayloadBytes, " are possible"));
  }
  auto socket = connect_securely(address, job_key, deadline.earlier(Deadline::after(kLongestSilence)));
  if (!socket.is_ok()) return socket.status();
  if (Status sent = socket->send_all(encode(hello), deadline); sent.code() == StatusCode::timed_out)
    return sent;
  return await_answer(*socket, hello.size, deadline, remark);
}

}  // namespace

Result<Company> rendezvous(const std::string& address, const std::string& job_key, int rank, int size,
                           std::span<const std::byte> mine, Deadline deadline, bool after_loss,
                           const MeetingRemark& say) {
  Hello hello;
  hello.rank = rank;
  hello.size = size;
  hello.after_loss = after_loss;
  hello.payload.assign(mine.begin(), mine.end());
  auto met = meet(address, job_key, hello, deadline, say);
  if (met.is_ok()) return met;
  return met.status().with_prefix(text("rank ", rank, ": rendezvous at ", address, ": "));
}

}  // namespace hvd
