// horovod_cpp._core: the core for Python. It knows addresses, shapes and types, no framework; the package on top of it (horovod_cpp/) turns
// arrays and tensors into those.
#include "bindings/python/bind.h"
#include "bindings/python/release_queue.h"

PYBIND11_MODULE(_core, module) {
  module.attr("version") = HVD_VERSION;
  hvd::bind_words(module);
  hvd::bind_pending(module);
  hvd::bind_session(module);
  hvd::bind_arena(module);
  hvd::bind_plugins(module);
  module.def("drop_released_objects", &hvd::drop_released_objects);
}
