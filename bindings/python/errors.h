// A failed Status as the Python exception that horovod_cpp/exceptions.py lists for it.
#pragma once

#include "horovod_cpp/base/status.h"

namespace hvd {

// Throws pybind11::error_already_set for a failed Status; does nothing for an ok one. Needs the GIL.
void raise_if_failed(const Status& status);

template <class T>
T value_or_raise(Result<T> result) {
  raise_if_failed(result.status());
  return std::move(result).value();
}

}  // namespace hvd
