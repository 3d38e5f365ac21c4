// The messages of a peer link (docs/wire.md): one byte of kind, then a length-prefixed text.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "horovod_cpp/base/wire.h"

namespace hvd {

enum class Message : std::uint8_t {
  goodbye = 1,
  failure = 2,
  picture_wanted = 3,
  picture = 4,
  are_you_there = 5,
  here = 6,
};
// The words of picture_wanted, if the sender's world has failed.
inline constexpr std::string_view kAfterFailure = "failed";
inline constexpr std::size_t kMaxTextBytes = std::size_t{64} << 10U;

inline Bytes frame(Message kind, std::string_view words) {
  ByteWriter out;
  out.put(kind);
  out.put_text(words.substr(0, kMaxTextBytes));
  return out.take();
}

// The words of `here`: the Position of the sender's coordinator.
inline std::string words_of_position(std::uint64_t position) {
  ByteWriter out;
  out.put(position);
  const Bytes bytes = out.take();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline std::optional<std::uint64_t> position_in_words(std::string_view words) {
  ByteReader in(std::as_bytes(std::span(words)));
  const auto position = in.get<std::uint64_t>();
  if (in.failed() || in.remaining() > 0) return std::nullopt;
  return position;
}

}  // namespace hvd
