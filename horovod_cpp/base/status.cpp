#include "horovod_cpp/base/status.h"

#include "horovod_cpp/base/text.h"

namespace hvd {

const char* name_of(StatusCode code) {
  switch (code) {
    case StatusCode::ok:
      return "ok";
    case StatusCode::invalid_argument:
      return "invalid argument";
    case StatusCode::mismatch:
      return "mismatch";
    case StatusCode::aborted:
      return "aborted";
    case StatusCode::timed_out:
      return "timed out";
    case StatusCode::unavailable:
      return "unavailable";
    case StatusCode::unimplemented:
      return "unimplemented";
    case StatusCode::shut_down:
      return "shut down";
    case StatusCode::internal:
      return "internal error";
  }
  return "unknown";
}

Status::Status(StatusCode code, std::string message)
    : code_(code), message_(std::make_shared<const std::string>(std::move(message))) {}

const std::string& Status::message() const {
  static const std::string none;
  return message_ ? *message_ : none;
}

Status Status::with_prefix(const std::string& prefix) const {
  return is_ok() ? *this : Status(code_, text(prefix, message()));
}

}  // namespace hvd
