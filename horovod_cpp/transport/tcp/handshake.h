// What two ranks say to each other on a new TCP connection before anybody uses it.
//
// Both send a Greeting with a fresh nonce; the rank that accepted adds its Proof, the one that connected then sends its own. A proof is a keyed
// hash of both greetings, with a label for the side: it shows that its sender knows the job key, for these two ranks, this purpose and this
// connection. It can neither be repeated on another connection nor be sent back to whoever made it, and the key is not on the wire.
// Only then does either side count the connection: whoever gives up before leaves nothing behind.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/secure/keyed_hash.h"

namespace hvd {

// What a connection is for. Values are part of the wire format.
enum class LinkPurpose : std::uint32_t { control = 1, data = 2, life = 3 };

// Sent as it lies in memory: little-endian, no padding.
struct Greeting {
  std::uint32_t magic = 0;
  std::uint32_t version = 0;
  std::int32_t from = -1;
  std::int32_t to = -1;
  std::int32_t size = 0;
  LinkPurpose purpose{};
  std::array<std::byte, 32> nonce{};
};
static_assert(sizeof(Greeting) == 24 + 32);

// unavailable if the system gives no random numbers.
Result<Greeting> make_greeting(int from, int to, int size, LinkPurpose purpose);

// ok if the sender meant rank `to` of a job of this size. It may claim any rank of the job but `to`.
Status check_greeting(const Greeting& greeting, int to, int size, LinkPurpose purpose);

enum class LinkSide { connected, accepted };

// What the rank on `side` sends when it knows the greeting of the rank that connected, and of the one that accepted.
KeyedHash prove(const std::string& job_key, LinkSide side, const Greeting& connected,
                const Greeting& accepted);

// A key that only these two know, for this connection.
KeyedHash link_key(const std::string& job_key, const Greeting& connected, const Greeting& accepted);

}  // namespace hvd
