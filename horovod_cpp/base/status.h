// Status: the outcome of an operation. Result<T>: a value or the Status that explains its absence.
//
// The core throws nothing for what can happen in production; bindings turn a failed Status into an exception.
// Values; copy freely; thread-compatible.
#pragma once

#include <cassert>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace hvd {

enum class StatusCode {
  ok,
  invalid_argument,  // the caller's bug at this call: nothing was submitted, the Session stays usable
  mismatch,          // ranks disagree about one operation: it fails on every rank, the Session stays usable
  aborted,           // the world failed (peer lost, network, device): the Session is latched
  timed_out,         // a deadline passed
  unavailable,       // not built, not installed, or not possible here
  unimplemented,     // this backend has no such operation
  shut_down,         // the Session was shut down, here or on the rank named
  internal,          // a broken invariant of ours
};

const char* name_of(StatusCode code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  // `code` must not be ok; `message` says rank, operation, tensor, expected, got and the remedy as far as they are known.
  Status(StatusCode code, std::string message);

  static Status invalid_argument(std::string message) {
    return {StatusCode::invalid_argument, std::move(message)};
  }
  static Status mismatch(std::string message) { return {StatusCode::mismatch, std::move(message)}; }
  static Status aborted(std::string message) { return {StatusCode::aborted, std::move(message)}; }
  static Status timed_out(std::string message) { return {StatusCode::timed_out, std::move(message)}; }
  static Status unavailable(std::string message) { return {StatusCode::unavailable, std::move(message)}; }
  static Status unimplemented(std::string message) { return {StatusCode::unimplemented, std::move(message)}; }
  static Status shut_down(std::string message) { return {StatusCode::shut_down, std::move(message)}; }
  static Status internal(std::string message) { return {StatusCode::internal, std::move(message)}; }

  bool is_ok() const { return code_ == StatusCode::ok; }
  StatusCode code() const { return code_; }
  const std::string& message() const;

  // The same code, with `prefix` before the message. An ok Status is returned unchanged.
  Status with_prefix(const std::string& prefix) const;

 private:
  StatusCode code_ = StatusCode::ok;
  std::shared_ptr<const std::string> message_;
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT(google-explicit-constructor)
  Result(Status status) : status_(std::move(status)) {  // NOLINT(google-explicit-constructor)
    if (status_.is_ok()) status_ = Status::internal("a Result without a value was made from an ok Status");
  }

  bool is_ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }

  // Only when is_ok().
  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T&& value() && { return std::move(*value_); }
  T* operator->() { return &*value_; }
  T& operator*() & { return *value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

// Leaves the function with the failed Status of `expression`, if it failed.
#define HVD_RETURN_IF_ERROR(expression)                                 \
  do {                                                                  \
    if (::hvd::Status hvd_status = (expression); !hvd_status.is_ok()) { \
      return hvd_status;                                                \
    }                                                                   \
  } while (false)

}  // namespace hvd
