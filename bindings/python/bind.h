// One function a file: each adds its classes to the module.
#pragma once

#include <pybind11/pybind11.h>

namespace hvd {

void bind_words(pybind11::module_& module);
void bind_pending(pybind11::module_& module);
void bind_session(pybind11::module_& module);
void bind_arena(pybind11::module_& module);
void bind_plugins(pybind11::module_& module);

}  // namespace hvd
