// The messages of a peer link (docs/wire.md): one byte of kind, then a length-prefixed text.
#pragma once

#include <string_view>

#include "horovod_cpp/base/wire.h"

namespace hvd {

enum class Message : std::uint8_t { goodbye = 1, failure = 2, picture_wanted = 3, picture = 4 };
// The words of picture_wanted, if the sender's world has failed.
inline constexpr std::string_view kAfterFailure = "failed";
inline constexpr std::size_t kMaxTextBytes = std::size_t{64} << 10U;

inline Bytes frame(Message kind, std::string_view words) {
  ByteWriter out;
  out.put(kind);
  out.put_text(words.substr(0, kMaxTextBytes));
  return out.take();
}

}  // namespace hvd
