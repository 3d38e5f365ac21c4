// Release queue: Python objects that the core has let go of, on their way back to a thread that holds the GIL.
//
// An operation keeps its buffers alive; it ends on the coordinator's thread, which must never take the GIL: a rank would wait for another
// rank's interpreter. So what it drops is put into a list without a lock, and the next call of this extension drops it for good.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

namespace hvd {

// Holds a reference to `object` (nothing for None) until the result is let go of, on any thread. Needs the GIL.
std::shared_ptr<void> keep_until_released(const pybind11::object& object);

// Drops what has been let go of since. Needs the GIL; the destructors of objects run here.
void drop_released_objects();

}  // namespace hvd
