#include "horovod_cpp/transport/framing/messages.h"

#include <algorithm>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/transport/framing/framed_transport.h"

namespace hvd {
namespace {

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
  grow_->resize(length);
  into_ = *grow_;
  return {};
}

Status IncomingMessage::advance(ByteLanes& lanes) {
  while (!is_done()) {
    const auto header = std::as_writable_bytes(std::span(&header_, 1));
    const bool in_header = received_ < header.size();
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
