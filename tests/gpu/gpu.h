// One CUDA device as tests use it: streams, events and memory come from the plugin, through its table as the
// runtime gets it; copies and pretended kernels from the driver. Nothing here knows whether the driver is
// NVIDIA's or the stand-in.
//
// Threading: one thread (a rank) at a time.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "horovod_cpp/base/wire.h"
#include "horovod_cpp/ports/device.h"
#include "horovod_cpp/ports/plugin.h"
#include "ops/cuda/cuda_context.h"

namespace hvd {

// The CUDA plugin of this build, opened.
const PluginTable& cuda_plugin();

// Streams, events, allocations and contexts that are alive in the stand-in; nothing with a real driver.
std::optional<std::size_t> standin_live_objects();

// Holds streams back until the test opens it, at the latest when it is destroyed.
class Gate {
 public:
  Gate() : state_(std::make_shared<State>()) {}
  ~Gate() { open(); }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  void open();

 private:
  friend class Gpu;
  struct State {
    std::mutex mutex;
    std::condition_variable opened;
    bool is_open = false;
  };
  std::shared_ptr<State> state_;
};

class Gpu {
 public:
  explicit Gpu(int index);

  const std::shared_ptr<Device>& device() const { return device_; }
  std::unique_ptr<Stream> stream();
  std::unique_ptr<DeviceMemory> memory(std::size_t bytes);

  // Return when it is done.
  std::unique_ptr<DeviceMemory> upload(std::span<const std::byte> bytes);
  void copy_from_host(void* to, std::span<const std::byte> bytes);
  Bytes download(const void* from, std::size_t bytes);

  // Enqueue on a stream.
  void hold(Stream& stream, Gate& gate);
  void fill(Stream& stream, void* memory, float value, std::size_t count);
  void copy_to_host(Stream& stream, std::span<std::byte> to, const void* from);

 private:
  void expect(CUresult result, const char* what);

  std::shared_ptr<CudaContext> context_;
  std::shared_ptr<Device> device_;
  std::unique_ptr<Stream> transfers_;
};

}  // namespace hvd
