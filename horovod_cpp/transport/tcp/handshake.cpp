#include "horovod_cpp/transport/tcp/handshake.h"

#include <algorithm>
#include <cstring>

#include "horovod_cpp/base/secret.h"
#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

constexpr std::uint32_t kMagic = 0x54445648;  // "HVDT"
constexpr std::uint32_t kVersion = 1;

}  // namespace

Greeting make_greeting(int from, int to, int size, const std::string& job_key) {
  Greeting greeting;
  greeting.magic = kMagic;
  greeting.version = kVersion;
  greeting.from = from;
  greeting.to = to;
  greeting.size = size;
  greeting.key_bytes = static_cast<std::uint32_t>(std::min(job_key.size(), kMaxJobKeyBytes));
  std::memcpy(greeting.key.data(), job_key.data(), greeting.key_bytes);
  return greeting;
}

Status check_greeting(const Greeting& greeting, int to, int size, const std::string& job_key) {
  if (greeting.magic != kMagic) return Status::invalid_argument("it does not speak our protocol");
  if (greeting.version != kVersion) {
    return Status::invalid_argument(
        text("it speaks version ", greeting.version, " of the transport's protocol, this rank ", kVersion));
  }
  const std::size_t key_bytes = std::min<std::size_t>(greeting.key_bytes, kMaxJobKeyBytes);
  if (!is_same_secret({greeting.key.data(), key_bytes}, job_key))
    return Status::invalid_argument("it has another job key");
  const bool is_rank = greeting.from >= 0 && greeting.from < size && greeting.from != to;
  if (greeting.size != size || greeting.to != to || !is_rank) {
    return Status::invalid_argument(text("it is rank ", greeting.from, " of ", greeting.size,
                                         " and looks for rank ", greeting.to, "; this is rank ", to, " of ",
                                         size));
  }
  return {};
}

}  // namespace hvd
