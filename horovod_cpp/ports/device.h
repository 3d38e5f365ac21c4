// Device, Stream, Event [ports]: what the core needs of an accelerator. The core never blocks on one: it orders work.
//
// Threading: a Device may be used from any thread; a Stream or an Event by one thread at a time, except Event::is_complete.
// Ownership: streams and events must not outlive the Device that made them.
// Errors: a failed Status with the driver's own words.
// tests/conformance/device_suite.h holds what every implementation must do.
#pragma once

#include <memory>
#include <span>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/types.h"

namespace hvd {

// A point in the order of a stream's work.
class Event {
 public:
  virtual ~Event() = default;
  virtual Result<bool> is_complete() = 0;
  // The calling thread sleeps until the work before this point is finished.
  virtual Status synchronize(Deadline deadline) = 0;
  virtual void* native_handle() const = 0;  // CUevent; nullptr on the CPU
};

class Stream {
 public:
  virtual ~Stream() = default;
  virtual void* native_handle() const = 0;  // CUstream; nullptr on the CPU
  // A point after everything enqueued so far.
  virtual Result<std::shared_ptr<Event>> record() = 0;
  // Work enqueued from now on starts after `event`.
  virtual Status wait(const Event& event) = 0;
};

// Elements of one tensor, contiguous in the device's memory. Not owned.
struct DeviceSlice {
  void* data = nullptr;
  std::size_t count = 0;
};

// Device memory, freed on destruction (after the work enqueued on it: the caller waits first).
class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;
  virtual void* data() const = 0;
  virtual std::size_t size_in_bytes() const = 0;
};

class Device {
 public:
  virtual ~Device() = default;

  virtual DeviceId id() const = 0;
  virtual Result<std::unique_ptr<DeviceMemory>> allocate(std::size_t bytes) = 0;
  // A stream of its own, at the highest priority the device offers.
  virtual Result<std::unique_ptr<Stream>> create_stream() = 0;
  // A stream made by somebody else (the framework's compute stream). Not owned.
  virtual std::unique_ptr<Stream> adopt_stream(void* native_handle) = 0;

  // Enqueues: packed[0 .. sum of counts) = concatenation of `slices`, each element times `scale`, element type `dtype`.
  virtual Status gather(std::span<const DeviceSlice> slices, void* packed, DataType dtype, double scale,
                        Stream& stream) = 0;
  // Enqueues the reverse.
  virtual Status scatter(const void* packed, std::span<const DeviceSlice> slices, DataType dtype,
                         double scale, Stream& stream) = 0;
};

}  // namespace hvd
