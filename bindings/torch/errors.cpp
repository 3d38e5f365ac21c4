#include "horovod_cpp/torch/errors.h"

namespace hvd {

void throw_if_failed(const Status& status) {
  switch (status.code()) {
    case StatusCode::ok:
      return;
    case StatusCode::invalid_argument:
      throw std::invalid_argument(status.message());
    case StatusCode::mismatch:
      throw MismatchError(status);
    case StatusCode::aborted:
    case StatusCode::timed_out:
    case StatusCode::shut_down:
      throw WorldError(status);
    case StatusCode::unavailable:
    case StatusCode::unimplemented:
      throw UnavailableError(status);
    case StatusCode::internal:
      throw InternalError(status);
  }
  throw InternalError(status);
}

}  // namespace hvd
