// One message on its way out, one on its way in. Each moves as far as its lane allows without blocking.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/wire.h"
#include "horovod_cpp/transport/framing/byte_lanes.h"

namespace hvd {

// Values are part of the wire format.
enum class MessageKind : std::uint32_t { exchange = 0x44565831, all_gather = 0x44565832 };

struct MessageHeader {
  MessageKind kind{};
  std::uint32_t flags = 0;
  std::uint64_t length_bytes = 0;
};
static_assert(sizeof(MessageHeader) == 16);

// The payload is not owned.
class OutgoingMessage {
 public:
  OutgoingMessage(int peer, MessageKind kind, std::span<const std::byte> payload)
      : peer_(peer), header_{kind, 0, payload.size()}, payload_(payload) {}

  int peer() const { return peer_; }
  bool is_done() const { return sent_ == sizeof(header_) + payload_.size(); }
  Status advance(ByteLanes& lanes);

 private:
  int peer_;
  MessageHeader header_;
  std::span<const std::byte> payload_;
  std::size_t sent_ = 0;  // bytes of header and payload
};

class IncomingMessage {
 public:
  // Exactly into.size() bytes, into memory that is not owned.
  IncomingMessage(int peer, MessageKind kind, std::span<std::byte> into)
      : peer_(peer), kind_(kind), into_(into), length_(into.size()) {}
  // Any length up to kMaxMessageBytes; *grow is resized to it, in steps, as bytes arrive: an announced length is not believed.
  IncomingMessage(int peer, MessageKind kind, Bytes* grow) : peer_(peer), kind_(kind), grow_(grow) {}

  int peer() const { return peer_; }
  bool is_done() const { return received_ >= sizeof(header_) && received_ == sizeof(header_) + length_; }
  // internal if what arrives is not the message that was expected.
  Status advance(ByteLanes& lanes);

 private:
  Status check_header();
  void make_room();

  int peer_;
  MessageKind kind_;
  MessageHeader header_;
  std::span<std::byte> into_;  // what there is room for
  std::size_t length_ = 0;
  Bytes* grow_ = nullptr;
  std::size_t received_ = 0;  // bytes of header and payload
};

}  // namespace hvd
