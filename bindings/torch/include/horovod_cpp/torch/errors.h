// What the LibTorch binding throws.
//
//   std::invalid_argument  the caller's bug at this call; nothing was sent, the Session stays usable
//   std::logic_error       hvd::init() was not called, or this process was forked from one that had called it
//   hvd::MismatchError     ranks disagree about one operation: thrown on every rank, the Session stays usable
//   hvd::StepDiscarded     the backward of another rank failed: its own error is there, the step is dropped on all ranks
//   hvd::WorldError        a peer was lost, a connection broke, a wait ran out or a rank shut down: start anew
//   hvd::UnavailableError  not built, not installed or not possible here
//   hvd::InternalError     a bug of ours: please report it
//
// All of the hvd ones derive from hvd::Error. Messages say rank, operation, what was expected, what came, what to do.
#pragma once

#include <stdexcept>
#include <string>

#include "horovod_cpp/base/status.h"

namespace hvd {

class Error : public std::runtime_error {
 public:
  explicit Error(const Status& status) : std::runtime_error(status.message()), code_(status.code()) {}
  StatusCode code() const { return code_; }

 private:
  StatusCode code_;
};

struct MismatchError final : Error {
  using Error::Error;
};
struct StepDiscarded final : Error {
  using Error::Error;
};
struct WorldError final : Error {
  using Error::Error;
};
struct UnavailableError final : Error {
  using Error::Error;
};
struct InternalError final : Error {
  using Error::Error;
};

// Throws the exception of the table above for a failed Status; does nothing for an ok one.
void throw_if_failed(const Status& status);

// The value, or the exception of the table above.
template <class T>
T value_or_throw(Result<T> result) {
  throw_if_failed(result.status());
  return std::move(result).value();
}

}  // namespace hvd
