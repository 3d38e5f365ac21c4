#include "horovod_cpp/rendezvous/protocol.h"

#include <algorithm>
#include <functional>

#include "horovod_cpp/base/text.h"

namespace hvd::rendezvous_protocol {
namespace {

// Room for a body at first.
constexpr std::size_t kFirstRoomBytes = std::size_t{64} << 10U;

Bytes message(MessageType type, std::span<const std::byte> body) {
  ByteWriter out;
  out.put(kMagic);
  out.put(type);
  out.put(static_cast<std::uint64_t>(body.size()));
  Bytes bytes = out.take();
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

void put_ranks(ByteWriter& out, const std::vector<int>& ranks) {
  out.put_bytes(std::as_bytes(std::span(ranks)));
}

std::vector<int> get_ranks(ByteReader& in) {
  static_assert(sizeof(int) == sizeof(std::int32_t));
  const auto bytes = in.get_bytes();
  std::vector<int> ranks(bytes.size() / sizeof(std::int32_t));
  if (!ranks.empty()) std::memcpy(ranks.data(), bytes.data(), ranks.size() * sizeof(std::int32_t));
  return ranks;
}

Status nonsense() { return Status::internal("the rendezvous server's answer cannot be read"); }

}  // namespace

std::size_t max_answer_bytes(int size) {
  return static_cast<std::size_t>(size) * (kMaxPayloadBytes + 16) + 4096;
}

KeyedHash tls_key(const std::string& job_key) { return keyed_hash(job_key, "rendezvous by TLS"); }

Bytes encode(const Hello& hello) {
  ByteWriter out;
  out.put(hello.protocol_version);
  out.put_text(hello.horovod_cpp_version);
  out.put(hello.rank);
  out.put(hello.size);
  out.put(static_cast<std::uint8_t>(hello.after_loss));
  out.put_bytes(hello.payload);
  return message(MessageType::hello, out.bytes());
}

Bytes encode_ask() { return message(MessageType::ask, {}); }

Bytes encode(const Attendance& attendance) {
  ByteWriter out;
  put_ranks(out, attendance.waiting);
  put_ranks(out, attendance.missing);
  put_ranks(out, attendance.gone);
  return message(MessageType::progress, out.bytes());
}

Bytes encode(const Gathered& gathered) {
  ByteWriter out;
  out.put(gathered.round);
  put_ranks(out, gathered.ranks);
  for (const Bytes& payload : gathered.payloads) out.put_bytes(payload);
  return message(MessageType::gathered, out.bytes());
}

Bytes encode_refusal(const std::string& reason) {
  return message(MessageType::refused, std::as_bytes(std::span(reason)));
}

Bytes encode_loss(const std::string& reason) {
  return message(MessageType::lost, std::as_bytes(std::span(reason)));
}

Result<Attendance> decode_attendance(std::span<const std::byte> body) {
  ByteReader in(body);
  Attendance attendance;
  attendance.waiting = get_ranks(in);
  attendance.missing = get_ranks(in);
  attendance.gone = get_ranks(in);
  if (in.failed() || in.remaining() > 0) return nonsense();
  return attendance;
}

Result<Gathered> decode_gathered(std::span<const std::byte> body, int size) {
  ByteReader in(body);
  Gathered gathered;
  gathered.round = in.get<std::uint32_t>();
  gathered.ranks = get_ranks(in);
  const bool is_ascending = std::adjacent_find(gathered.ranks.begin(), gathered.ranks.end(),
                                               std::greater_equal<>()) == gathered.ranks.end();
  if (gathered.ranks.empty() || !is_ascending || gathered.ranks.front() < 0 || gathered.ranks.back() >= size)
    return nonsense();
  for (std::size_t i = 0; i < gathered.ranks.size(); ++i) {
    const auto payload = in.get_bytes();
    gathered.payloads.emplace_back(payload.begin(), payload.end());
  }
  if (in.failed() || in.remaining() > 0) return nonsense();
  return gathered;
}

std::string decode_reason(std::span<const std::byte> body) {
  return {reinterpret_cast<const char*>(body.data()), body.size()};
}

Result<Hello> check_hello(std::span<const std::byte> body, int size) {
  ByteReader in(body);
  Hello hello;
  hello.protocol_version = in.get<std::uint32_t>();
  if (!in.failed() && hello.protocol_version != kVersion) {
    return Status::unavailable(text("wrong version: a rank speaks rendezvous protocol ",
                                    hello.protocol_version, ", the launcher ", kVersion,
                                    "; install the same horovod_cpp everywhere"));
  }
  hello.horovod_cpp_version = in.get_text();
  hello.rank = in.get<std::int32_t>();
  hello.size = in.get<std::int32_t>();
  hello.after_loss = in.get<std::uint8_t>() != 0;
  const auto payload = in.get_bytes();
  if (in.failed() || in.remaining() > 0) return Status::invalid_argument("the greeting cannot be read");
  hello.payload.assign(payload.begin(), payload.end());

  if (hello.horovod_cpp_version != HVD_VERSION) {
    return Status::unavailable(text("wrong version: rank ", hello.rank, " has horovod_cpp ",
                                    hello.horovod_cpp_version, ", the launcher ", HVD_VERSION,
                                    "; install the same horovod_cpp everywhere"));
  }
  if (hello.size != size) {
    return Status::invalid_argument(
        text("wrong size: rank ", hello.rank, " expects ", hello.size, " ranks, the job has ", size));
  }
  if (hello.rank < 0 || hello.rank >= size) {
    return Status::invalid_argument(
        text("rank ", hello.rank, " is out of range: the job has ", size, " ranks"));
  }
  if (hello.payload.size() > kMaxPayloadBytes) {
    return Status::invalid_argument(text("the payload is too long: ", hello.payload.size(), " bytes"));
  }
  return hello;
}

MessageReader::Outcome MessageReader::advance(SecureSocket& socket) {
  const auto is_complete = [this] {
    return received_ >= sizeof(Header) && received_ == sizeof(Header) + header_.length_bytes;
  };
  if (is_complete()) {
    received_ = 0;
    body_.clear();
  }
  while (true) {
    const auto header = std::as_writable_bytes(std::span(&header_, 1));
    const bool in_header = received_ < header.size();
    if (!in_header && received_ == header.size() + body_.size()) {
      // An announced length is not believed: there is room for as much again as has come.
      body_.resize(std::min<std::size_t>(header_.length_bytes, std::max(kFirstRoomBytes, 2 * body_.size())));
    }
    const auto wanted =
        in_header ? header.subspan(received_) : std::span(body_).subspan(received_ - header.size());
    const Progress progress = socket.receive_some(wanted);
    if (!progress.is_open) return Outcome::closed;
    if (progress.bytes == 0) return Outcome::incomplete;
    received_ += progress.bytes;
    if (in_header && received_ == header.size()) {
      if (header_.magic != kMagic) return Outcome::foreign;
      if (header_.length_bytes > max_body_bytes_) return Outcome::too_long;
    }
    if (is_complete()) return Outcome::message;
  }
}

}  // namespace hvd::rendezvous_protocol
