#include "bindings/python/pending.h"

#include "bindings/python/bind.h"
#include "bindings/python/errors.h"
#include "bindings/python/interruptible.h"
#include "bindings/python/release_queue.h"
#include "bindings/python/seconds.h"

#include <pybind11/stl.h>

namespace py = pybind11;

namespace hvd {

bool Pending::join(std::optional<double> timeout_s) const {
  if (!work.done()) {
    wait_interruptibly(deadline_after(timeout_s), [this](Deadline slice) {
      static_cast<void>(work.wait(slice));
      return work.done();
    });
  }
  drop_released_objects();
  return work.done();
}

void Pending::wait(std::optional<double> timeout_s) const {
  join(timeout_s);
  raise_if_failed(work.wait(Deadline::after({})));
}

void bind_pending(py::module_& module) {
  py::class_<GatheredMemory, std::shared_ptr<GatheredMemory>>(module, "GatheredMemory", py::buffer_protocol())
      .def_buffer([](GatheredMemory& memory) {
        return py::buffer_info(static_cast<unsigned char*>(memory.data()),
                               static_cast<py::ssize_t>(memory.size_in_bytes()));
      });
  py::class_<Pending>(module, "Pending")
      .def("done", [](const Pending& pending) { return pending.work.done(); })
      .def("wait", &Pending::wait, py::arg("timeout_s") = py::none())
      .def("join", &Pending::join, py::arg("timeout_s") = py::none())
      .def_property_readonly("result", [](const Pending& pending) { return pending.work.result(); })
      .def_property_readonly("gathered", [](const Pending& pending) { return pending.gathered; });
}

}  // namespace hvd
