// What two ranks say to each other on a new TCP connection before the Transport takes it over.
//
// The rank that connected sends a Greeting, the one that accepted checks it and answers with its own, the
// first checks that and confirms with one byte. Only then does either side count the connection: whoever
// gives up before leaves nothing behind.
//
// The seam for TLS with a pre-shared key: the job key is in
// the Greeting and is compared in check_greeting, nowhere else.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "horovod_cpp/base/status.h"

namespace hvd {

inline constexpr std::size_t kMaxJobKeyBytes = 128;

// Sent as it lies in memory: little-endian, no padding.
struct Greeting {
  std::uint32_t magic = 0;
  std::uint32_t version = 0;
  std::int32_t from = -1;
  std::int32_t to = -1;
  std::int32_t size = 0;
  std::uint32_t key_bytes = 0;
  std::array<char, kMaxJobKeyBytes> key{};
};
static_assert(sizeof(Greeting) == 24 + kMaxJobKeyBytes);

inline constexpr std::byte kConfirmation{0x6b};

// `job_key` has at most kMaxJobKeyBytes.
Greeting make_greeting(int from, int to, int size, const std::string& job_key);

// ok if the sender is of this job and meant rank `to`. It may claim any rank of the job but `to`.
Status check_greeting(const Greeting& greeting, int to, int size, const std::string& job_key);

}  // namespace hvd
