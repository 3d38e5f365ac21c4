#include "tests/gpu/gpu.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <bit>
#include <stdexcept>

#include "horovod_cpp/base/text.h"
#include "ops/cuda/runtime_library.h"

namespace hvd {
namespace {

// Functions of the driver that tests need and the plugin does not.
template <class Function>
Function* driver_function(const char* name) {
  const auto library = RuntimeLibrary::load("libcuda.so.1");
  return library.is_ok() ? reinterpret_cast<Function*>(library.value().find(name)) : nullptr;
}
#define DRIVER_FUNCTION(function) driver_function<decltype(function)>(HVD_LINKED_NAME(function))

template <class T>
T value_or_throw(Result<T> result) {
  if (!result.is_ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}
void ok_or_throw(const Status& status) {
  if (!status.is_ok()) throw std::runtime_error(status.message());
}

}  // namespace

const PluginTable& cuda_plugin() {
  void* const library = dlopen(HVD_CUDA_PLUGIN, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  return *reinterpret_cast<PluginEntry*>(dlsym(library, kPluginEntryName))();
}

std::optional<std::size_t> standin_live_objects() {
  auto* const count = driver_function<std::size_t()>("hvd_standin_live_objects");
  if (count == nullptr) return std::nullopt;
  return count();
}

void Gate::open() {
  const std::lock_guard lock(state_->mutex);
  state_->is_open = true;
  state_->opened.notify_all();
}

Gpu::Gpu(int index) {
  ok_or_throw(cuda_plugin().open_device(index, &device_));
  context_ = value_or_throw(CudaContext::retain(value_or_throw(CudaDriver::load()), index));
  transfers_ = stream();
}

std::unique_ptr<Stream> Gpu::stream() { return value_or_throw(device_->create_stream()); }
std::unique_ptr<DeviceMemory> Gpu::memory(std::size_t bytes) {
  return value_or_throw(device_->allocate(bytes));
}

void Gpu::expect(CUresult result, const char* what) { ok_or_throw(context_->check(result, what)); }

std::unique_ptr<DeviceMemory> Gpu::upload(std::span<const std::byte> bytes) {
  auto out = memory(bytes.size());
  copy_from_host(out->data(), bytes);
  return out;
}

void Gpu::copy_from_host(void* to, std::span<const std::byte> bytes) {
  const CudaContext::Current current(*context_);
  auto* const native = static_cast<CUstream>(transfers_->native_handle());
  if (!bytes.empty()) {
    expect(DRIVER_FUNCTION(cuMemcpyHtoDAsync)(reinterpret_cast<CUdeviceptr>(to), bytes.data(), bytes.size(),
                                              native),
           "cuMemcpyHtoDAsync");
  }
  expect(DRIVER_FUNCTION(cuStreamSynchronize)(native), "cuStreamSynchronize");
}

Bytes Gpu::download(const void* from, std::size_t bytes) {
  Bytes out(bytes);
  copy_to_host(*transfers_, out, from);
  const CudaContext::Current current(*context_);
  expect(DRIVER_FUNCTION(cuStreamSynchronize)(static_cast<CUstream>(transfers_->native_handle())),
         "cuStreamSynchronize");
  return out;
}

void Gpu::hold(Stream& stream, Gate& gate) {
  using Shared = std::shared_ptr<Gate::State>;
  const auto wait = [](void* argument) {
    const std::unique_ptr<Shared> state(static_cast<Shared*>(argument));
    std::unique_lock lock((*state)->mutex);
    (*state)->opened.wait(lock, [&] { return (*state)->is_open; });
  };
  auto argument = std::make_unique<Shared>(gate.state_);
  const CudaContext::Current current(*context_);
  expect(
      DRIVER_FUNCTION(cuLaunchHostFunc)(static_cast<CUstream>(stream.native_handle()), wait, argument.get()),
      "cuLaunchHostFunc");
  static_cast<void>(argument.release());  // the stream's now
}

void Gpu::fill(Stream& stream, void* memory, float value, std::size_t count) {
  const CudaContext::Current current(*context_);
  expect(context_->driver().cuMemsetD32Async(reinterpret_cast<CUdeviceptr>(memory),
                                             std::bit_cast<unsigned>(value), count,
                                             static_cast<CUstream>(stream.native_handle())),
         "cuMemsetD32Async");
}

void Gpu::copy_to_host(Stream& stream, std::span<std::byte> to, const void* from) {
  if (to.empty()) return;
  const CudaContext::Current current(*context_);
  expect(DRIVER_FUNCTION(cuMemcpyDtoHAsync)(to.data(), reinterpret_cast<CUdeviceptr>(from), to.size(),
                                            static_cast<CUstream>(stream.native_handle())),
         "cuMemcpyDtoHAsync");
}

}  // namespace hvd
