#include "bindings/python/interruptible.h"

namespace hvd {

bool wait_interruptibly(Deadline deadline, const std::function<bool(Deadline slice)>& wait) {
  constexpr std::chrono::milliseconds kSlice{100};
  while (true) {
    {
      const pybind11::gil_scoped_release without_gil;
      if (wait(Deadline::after(kSlice).earlier(deadline))) return true;
    }
    if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
    if (deadline.passed()) return false;
  }
}

}  // namespace hvd
