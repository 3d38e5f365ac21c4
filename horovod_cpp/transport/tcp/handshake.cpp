#include "horovod_cpp/transport/tcp/handshake.h"

#include <sys/random.h>

#include <cerrno>

#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

constexpr std::uint32_t kMagic = 0x54445648;  // "HVDT"
constexpr std::uint32_t kVersion = 2;

std::span<const std::byte> bytes_of(const Greeting& greeting) {
  return std::as_bytes(std::span(&greeting, 1));
}

}  // namespace

Result<Greeting> make_greeting(int from, int to, int size, LinkPurpose purpose) {
  Greeting greeting{kMagic, kVersion, from, to, size, purpose, {}};
  ssize_t got = 0;
  do {
    // So few bytes come whole.
    got = ::getrandom(greeting.nonce.data(), greeting.nonce.size(), 0);
  } while (got < 0 && errno == EINTR);
  if (got != static_cast<ssize_t>(greeting.nonce.size()))
    return Status::unavailable("no random numbers from the system: " + error_text(errno));
  return greeting;
}

Status check_greeting(const Greeting& greeting, int to, int size, LinkPurpose purpose) {
  if (greeting.magic != kMagic) return Status::invalid_argument("it does not speak our protocol");
  if (greeting.version != kVersion) {
    return Status::invalid_argument(
        text("it speaks version ", greeting.version, " of the transport's protocol, this rank ", kVersion));
  }
  const bool is_rank = greeting.from >= 0 && greeting.from < size && greeting.from != to;
  if (greeting.size != size || greeting.to != to || !is_rank) {
    return Status::invalid_argument(text("it is rank ", greeting.from, " of ", greeting.size,
                                         " and looks for rank ", greeting.to, "; this is rank ", to, " of ",
                                         size));
  }
  if (greeting.purpose != purpose) return Status::invalid_argument("its connection is for something else");
  return {};
}

KeyedHash prove(const std::string& job_key, LinkSide side, const Greeting& connected,
                const Greeting& accepted) {
  const char* const label = side == LinkSide::connected ? "rank that connected" : "rank that accepted";
  return keyed_hash(job_key, label, bytes_of(connected), bytes_of(accepted));
}

KeyedHash link_key(const std::string& job_key, const Greeting& connected, const Greeting& accepted) {
  return keyed_hash(job_key, "link between ranks", bytes_of(connected), bytes_of(accepted));
}

}  // namespace hvd
