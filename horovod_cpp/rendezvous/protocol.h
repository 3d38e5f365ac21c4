// The messages between a rank and the rendezvous server. docs/wire.md has them as a table.
//
// A message is magic (u32), type (u32), length of the body (u64), body. A rank sends
// hello, then, as often as it likes, ask. The server answers each ask with progress,
// and ends with gathered, refused or lost. While the rank keeps the connection after gathered,
// lost may still follow. Magic and type never change their place, and hello
// begins with the protocol version, so that any version can refuse any other in words.
//
// They travel over TLS with a key that is derived from the job's (tls_key): who can speak at all belongs to the job.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/wire.h"
#include "horovod_cpp/rendezvous/membership.h"
#include "horovod_cpp/secure/keyed_hash.h"
#include "horovod_cpp/secure/secure_socket.h"

namespace hvd::rendezvous_protocol {

inline constexpr std::uint32_t kMagic = 0x52445648;  // "HVDR"
inline constexpr std::uint32_t kVersion = 2;
// What one rank may contribute.
inline constexpr std::size_t kMaxPayloadBytes = std::size_t{1} << 20;
inline constexpr std::size_t kMaxHelloBytes = kMaxPayloadBytes + 4096;
std::size_t max_answer_bytes(int size);

// What TLS between a rank and the server is keyed with.
KeyedHash tls_key(const std::string& job_key);

// Values are part of the wire format.
enum class MessageType : std::uint32_t {
  hello = 1,
  ask = 2,
  progress = 3,
  gathered = 4,
  refused = 5,
  lost = 6
};

struct Hello {
  std::uint32_t protocol_version = kVersion;
  std::string horovod_cpp_version = HVD_VERSION;
  std::int32_t rank = 0;  // of `size`: as the job was started
  std::int32_t size = 0;
  bool after_loss = false;  // meets those who are left
  Bytes payload;
};

// Who has met, ascending, and the payload of each.
struct Gathered {
  std::uint32_t round = 0;
  std::vector<std::int32_t> ranks;
  std::vector<Bytes> payloads;
};

// Whole messages, header included.
Bytes encode(const Hello& hello);
Bytes encode_ask();
Bytes encode(const Attendance& attendance);
Bytes encode(const Gathered& gathered);
Bytes encode_refusal(const std::string& reason);
// A process that this rank needs has ended.
Bytes encode_loss(const std::string& reason);

// From bodies. internal if they make no sense.
Result<Attendance> decode_attendance(std::span<const std::byte> body);
Result<Gathered> decode_gathered(std::span<const std::byte> body, int size);
// Of refused and lost.
std::string decode_reason(std::span<const std::byte> body);

// The hello, if it fits a job of `size` ranks; otherwise the reason to refuse it.
Result<Hello> check_hello(std::span<const std::byte> body, int size);

// Collects one message after the other.
class MessageReader {
 public:
  enum class Outcome {
    incomplete,
    message,   // type() and body() hold until the next call
    closed,    // the other side closed or reset the connection
    foreign,   // not our protocol
    too_long,  // the announced body exceeds the limit
  };
  explicit MessageReader(std::size_t max_body_bytes) : max_body_bytes_(max_body_bytes) {}

  // After anything but incomplete and message the reader is used up.
  Outcome advance(SecureSocket& socket);
  MessageType type() const { return header_.type; }
  std::span<const std::byte> body() const { return body_; }

 private:
  struct Header {
    std::uint32_t magic = 0;
    MessageType type{};
    std::uint64_t length_bytes = 0;
  };

  std::size_t max_body_bytes_;
  Header header_;
  Bytes body_;
  std::size_t received_ = 0;  // bytes of header and body
};

}  // namespace hvd::rendezvous_protocol
