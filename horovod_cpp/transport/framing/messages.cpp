#include "horovod_cpp/transport/framing/messages.h"

#include <algorithm>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/transport/framing/framed_transport.h"

namespace hvd {
namespace {

// Room for a message of unknown length at first.
constexpr std::size_t kFirstRoomBytes = std::size_t{1} << 20;

const char* name_of(MessageKind kind) {
  switch (kind) {
    case MessageKind::exchange:
      return "exchange";
    case MessageKind::all_gather:
      return "all_gather";
  }
  return "nonsense";
}

}  // namespace

Status OutgoingMessage::advance(ByteLanes& lanes) {
  while (!is_done()) {
    const auto header = std::as_bytes(std::span(&header_, 1));
    const std::size_t header_sent = std::min(sent_, header.size());
    const auto moved =
        lanes.write_some(peer_, header.subspan(header_sent), payload_.subspan(sent_ - header_sent));
    if (!moved.is_ok()) return moved.status();
    if (moved.value() == 0) break;
    sent_ += moved.value();
  }
  return {};
}

Status IncomingMessage::check_header() {
  if (header_.kind != kind_) {
    return Status::internal(text("rank ", peer_, " sent ", name_of(header_.kind), " where ", name_of(kind_),
                                 " was expected: ranks called different operations"));
  }
  const std::uint64_t length = header_.length_bytes;
  if (grow_ == nullptr) {
    if (length == into_.size()) return {};
    return Status::internal(
        text("rank ", peer_, " sent ", length, " bytes where ", into_.size(), " were expected"));
  }
  if (length > kMaxMessageBytes) {
    return Status::internal(
        text("rank ", peer_, " announced ", length, " bytes; at most ", kMaxMessageBytes, " are accepted"));
  }
  length_ = length;
  grow_->clear();
  into_ = {};
  return {};
}

void IncomingMessage::make_room() {
  grow_->resize(std::min(length_, std::max(kFirstRoomBytes, 2 * grow_->size())));
  into_ = *grow_;
}

Status IncomingMessage::advance(ByteLanes& lanes) {
  while (!is_done()) {
    const auto header = std::as_writable_bytes(std::span(&header_, 1));
    const bool in_header = received_ < header.size();
    if (!in_header && received_ == header.size() + into_.size()) make_room();
    const auto wanted = in_header ? header.subspan(received_) : into_.subspan(received_ - header.size());
    const auto moved = lanes.read_some(peer_, wanted);
    if (!moved.is_ok()) return moved.status();
    if (moved.value() == 0) break;
    received_ += moved.value();
    if (in_header && received_ == header.size()) HVD_RETURN_IF_ERROR(check_header());
  }
  return {};
}

}  // namespace hvd
