// Orders the core's work on a device's memory with the framework's compute stream.
// On the CPU there is nothing to order.
#pragma once

#include <c10/core/Device.h>

#include <memory>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/ports/device.h"

namespace hvd {

// A point after everything enqueued so far on the device's current stream; nullptr on the CPU.
Result<std::shared_ptr<const Event>> point_in_current_stream(c10::Device device);
// Work enqueued on the device's current stream from now on starts after `event`. `event` may be nullptr.
void let_current_stream_wait(const std::shared_ptr<Event>& event, c10::Device device);

}  // namespace hvd
