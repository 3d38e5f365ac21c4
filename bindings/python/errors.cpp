#include "bindings/python/errors.h"

#include <pybind11/pybind11.h>

namespace hvd {
namespace {

const char* exception_for(StatusCode code) {
  switch (code) {
    case StatusCode::mismatch:
      return "MismatchError";
    case StatusCode::aborted:
    case StatusCode::timed_out:
    case StatusCode::shut_down:
      return "WorldError";
    case StatusCode::unavailable:
    case StatusCode::unimplemented:
      return "UnavailableError";
    default:
      return "HorovodInternalError";
  }
}

}  // namespace

void raise_if_failed(const Status& status) {
  if (status.is_ok()) return;
  if (status.code() == StatusCode::invalid_argument) {
    PyErr_SetString(PyExc_ValueError, status.message().c_str());
  } else {
    const auto exceptions = pybind11::module_::import("horovod_cpp.exceptions");
    const pybind11::object type = exceptions.attr(exception_for(status.code()));
    PyErr_SetString(type.ptr(), status.message().c_str());
  }
  throw pybind11::error_already_set();
}

}  // namespace hvd
