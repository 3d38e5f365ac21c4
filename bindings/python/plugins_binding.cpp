#include "bindings/python/bind.h"
#include "bindings/runtime/plugin_loader.h"

#include <pybind11/stl.h>

namespace py = pybind11;

namespace hvd {

void bind_plugins(py::module_& module) {
  // (usable, built, words): what was found, or what is missing and what to do.
  module.def("probe_plugin", [](const std::string& name) {
    const auto plugin = load_plugin(name);
    if (!plugin.is_ok()) return std::tuple(false, false, plugin.status().message());
    std::string details;
    const Status status = plugin.value()->probe(&details);
    return std::tuple(status.is_ok(), true, status.is_ok() ? details : status.message());
  });
}

}  // namespace hvd
