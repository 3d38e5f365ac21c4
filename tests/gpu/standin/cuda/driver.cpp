// libcuda.so.1 for tests: the driver functions that the plugin and its tests use, on host memory and threads.
// Definitions are checked against NVIDIA's declarations. HVD_STANDIN_IGNORE_WAIT=1 makes cuStreamWaitEvent do
// nothing, for tests of tests.
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <vector>

#include "tests/gpu/standin/cuda/driver_state.h"

#define STANDIN __attribute__((visibility("default")))

using hvd::standin::Context;
using hvd::standin::current_context;
using hvd::standin::DriverState;
using hvd::standin::Event;
using hvd::standin::kDevices;
using hvd::standin::kLongestWaitOfTheHost;
using hvd::standin::pop_context;
using hvd::standin::push_context;
using hvd::standin::state;
using hvd::standin::Stream;

namespace {

constexpr int kGreatestPriority = -5;
constexpr std::size_t kMemoryLimit = std::size_t{1} << 32;

// ok if the driver is initialised and this thread has a living context. With state().mutex held.
CUresult check_context(DriverState& driver) {
  if (!driver.is_initialized) return CUDA_ERROR_NOT_INITIALIZED;
  return driver.find(current_context()) == nullptr ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS;
}

bool is_on(const char* variable) {
  const char* const value = std::getenv(variable);
  return value != nullptr && std::string_view(value) == "1";
}

template <class Task>
CUresult enqueue(CUstream stream, Task task) {
  DriverState& driver = state();
  const std::lock_guard lock(driver.mutex);
  const auto found = driver.find(stream);
  if (found == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (current_context() != found->context) return CUDA_ERROR_INVALID_CONTEXT;
  found->queue.add(std::move(task));
  return CUDA_SUCCESS;
}

void* host(CUdeviceptr pointer) {
  return reinterpret_cast<void*>(pointer);  // NOLINT(performance-no-int-to-ptr): CUDA's pointers are integers
}

}  // namespace

extern "C" {

STANDIN CUresult CUDAAPI cuInit(unsigned int flags) {
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  const std::lock_guard lock(state().mutex);
  state().is_initialized = true;
  return CUDA_SUCCESS;
}

STANDIN CUresult CUDAAPI cuDriverGetVersion(int* version) {
  *version = CUDA_VERSION;
  return CUDA_SUCCESS;
}

STANDIN CUresult CUDAAPI cuGetErrorName(CUresult error, const char** name) {
  switch (error) {
    case CUDA_SUCCESS:
      *name = "CUDA_SUCCESS";
      return CUDA_SUCCESS;
    case CUDA_ERROR_INVALID_VALUE:
      *name = "CUDA_ERROR_INVALID_VALUE";
      return CUDA_SUCCESS;
    case CUDA_ERROR_OUT_OF_MEMORY:
      *name = "CUDA_ERROR_OUT_OF_MEMORY";
      return CUDA_SUCCESS;
    case CUDA_ERROR_INVALID_HANDLE:
      *name = "CUDA_ERROR_INVALID_HANDLE";
      return CUDA_SUCCESS;
    case CUDA_ERROR_INVALID_CONTEXT:
      *name = "CUDA_ERROR_INVALID_CONTEXT";
      return CUDA_SUCCESS;
    default:
      *name = nullptr;
      return CUDA_ERROR_INVALID_VALUE;
  }
}

STANDIN CUresult CUDAAPI cuGetErrorString(CUresult error, const char** words) {
  static_cast<void>(error);
  *words = "said by the stand-in";
  return CUDA_SUCCESS;
}

STANDIN CUresult CUDAAPI cuDeviceGetCount(int* count) {
  const std::lock_guard lock(state().mutex);
  if (!state().is_initialized) return CUDA_ERROR_NOT_INITIALIZED;
  *count = kDevices;
  return CUDA_SUCCESS;
}

STANDIN CUresult CUDAAPI cuDeviceGet(CUdevice* device, int ordinal) {
  if (ordinal < 0 || ordinal >= kDevices) return CUDA_ERROR_INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}

STANDIN CUresult CUDAAPI cuDeviceGetName(char* name, int length, CUdevice) {
  std::strncpy(name, "stand-in", static_cast<std::size_t>(length));
  return CUDA_SUCCESS;
}

STANDIN CUresult CUDAAPI cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      *value = 9;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      *value = 0;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

STANDIN CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  const std::lock_guard lock(state().mutex);
  if (!state().is_initialized) return CUDA_ERROR_NOT_INITIALIZED;
  Context& primary = state().contexts.at(static_cast<std::size_t>(device));
  primary.device = device;
  ++primary.holders;
  *context = reinterpret_cast<CUcontext>(&primary);
  return CUDA_SUCCESS;
}

STANDIN CUresult CUDAAPI cuDevicePrimaryCtxRelease(CUdevice device) {
  const std::lock_guard lock(state().mutex);
  Context& primary = state().contexts.at(static_cast<std::size_t>(device));
  if (primary.holders == 0) return CUDA_ERROR_INVALID_CONTEXT;
  if (--primary.holders == 0) primary.default_stream.reset();
  return CUDA_SUCCESS;
}

STANDIN CUresult CUDAAPI cuCtxPushCurrent(CUcontext context) {
  const std::lock_guard lock(state().mutex);
  if (state().find(context) == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  push_context(context);
  return CUDA_SUCCESS;
}

STANDIN CUresult CUDAAPI cuCtxPopCurrent(CUcontext* context) {
  *context = pop_context();
  return *context == nullptr ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS;
}

STANDIN CUresult CUDAAPI cuCtxGetCurrent(CUcontext* context) {
  *context = current_context();
  return CUDA_SUCCESS;
}

STANDIN CUresult CUDAAPI cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  const std::lock_guard lock(state().mutex);
  *least = 0;
  *greatest = kGreatestPriority;
  return check_context(state());
}

STANDIN CUresult CUDAAPI cuStreamCreateWithPriority(CUstream* out, unsigned int, int priority) {
  DriverState& driver = state();
  const std::lock_guard lock(driver.mutex);
  if (const CUresult result = check_context(driver); result != CUDA_SUCCESS) return result;
  const auto stream = std::make_shared<Stream>();
  stream->context = current_context();
  stream->priority = priority;
  *out = reinterpret_cast<CUstream>(stream.get());
  driver.streams.emplace(*out, stream);
  return CUDA_SUCCESS;
}

STANDIN CUresult CUDAAPI cuStreamDestroy(CUstream stream) {
  const std::lock_guard lock(state().mutex);
  return state().streams.erase(stream) == 1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

STANDIN CUresult CUDAAPI cuStreamGetPriority(CUstream stream, int* priority) {
  const std::lock_guard lock(state().mutex);
  const auto found = state().find(stream);
  if (found == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  *priority = found->priority;
  return CUDA_SUCCESS;
}

STANDIN CUresult CUDAAPI cuStreamWaitEvent(CUstream stream, CUevent event, unsigned int) {
  DriverState& driver = state();
  const std::lock_guard lock(driver.mutex);
  const auto waiting = driver.find(stream);
  const auto awaited = driver.find(event);
  if (waiting == nullptr || awaited == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (awaited->last_record == nullptr || is_on("HVD_STANDIN_IGNORE_WAIT")) return CUDA_SUCCESS;
  waiting->queue.add([point = awaited->last_record] { point->wait(); });
  return CUDA_SUCCESS;
}

STANDIN CUresult CUDAAPI cuStreamSynchronize(CUstream stream) {
  std::shared_ptr<hvd::standin::Point> point;
  {
    const std::lock_guard lock(state().mutex);
    const auto found = state().find(stream);
    if (found == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    point = found->queue.mark();
  }
  return point->wait_for(kLongestWaitOfTheHost) ? CUDA_SUCCESS : CUDA_ERROR_LAUNCH_TIMEOUT;
}

STANDIN CUresult CUDAAPI cuEventCreate(CUevent* out, unsigned int) {
  DriverState& driver = state();
  const std::lock_guard lock(driver.mutex);
  if (const CUresult result = check_context(driver); result != CUDA_SUCCESS) return result;
  const auto event = std::make_shared<Event>();
  event->context = current_context();
  *out = reinterpret_cast<CUevent>(event.get());
  driver.events.emplace(*out, event);
  return CUDA_SUCCESS;
}

STANDIN CUresult CUDAAPI cuEventDestroy(CUevent event) {
  const std::lock_guard lock(state().mutex);
  return state().events.erase(event) == 1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

STANDIN CUresult CUDAAPI cuEventRecord(CUevent event, CUstream stream) {
  const std::lock_guard lock(state().mutex);
  const auto recorded = state().find(event);
  const auto recording = state().find(stream);
  if (recorded == nullptr || recording == nullptr || recorded->context != recording->context) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  recorded->last_record = recording->queue.mark();
  return CUDA_SUCCESS;
}

STANDIN CUresult CUDAAPI cuEventQuery(CUevent event) {
  const std::lock_guard lock(state().mutex);
  const auto found = state().find(event);
  if (found == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  const bool is_complete = found->last_record == nullptr || found->last_record->is_passed();
  return is_complete ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

STANDIN CUresult CUDAAPI cuMemAlloc(CUdeviceptr* out, std::size_t bytes) {
  DriverState& driver = state();
  const std::lock_guard lock(driver.mutex);
  if (const CUresult result = check_context(driver); result != CUDA_SUCCESS) return result;
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  void* const memory = bytes > kMemoryLimit ? nullptr : ::operator new(bytes, std::nothrow);
  if (memory == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  *out = reinterpret_cast<CUdeviceptr>(memory);
  driver.memory.emplace(*out, current_context());
  return CUDA_SUCCESS;
}

// Like NVIDIA's, waits for the work of the whole device first.
STANDIN CUresult CUDAAPI cuMemFree(CUdeviceptr pointer) {
  DriverState& driver = state();
  std::vector<std::shared_ptr<hvd::standin::Point>> ends;
  {
    const std::lock_guard lock(driver.mutex);
    const auto found = driver.memory.find(pointer);
    if (found == driver.memory.end()) return CUDA_ERROR_INVALID_VALUE;
    for (const auto& [handle, stream] : driver.streams) {
      if (stream->context == found->second) ends.push_back(stream->queue.mark());
    }
    driver.memory.erase(found);
  }
  for (const auto& end : ends) {
    if (!end->wait_for(kLongestWaitOfTheHost)) return CUDA_ERROR_LAUNCH_TIMEOUT;
  }
  ::operator delete(host(pointer));
  return CUDA_SUCCESS;
}

STANDIN CUresult CUDAAPI cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, std::size_t bytes,
                                           CUstream stream) {
  return enqueue(stream, [=] { std::memcpy(host(to), host(from), bytes); });
}

STANDIN CUresult CUDAAPI cuMemcpyHtoDAsync(CUdeviceptr to, const void* from, std::size_t bytes,
                                           CUstream stream) {
  return enqueue(stream, [=] { std::memcpy(host(to), from, bytes); });
}

STANDIN CUresult CUDAAPI cuMemcpyDtoHAsync(void* to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  return enqueue(stream, [=] { std::memcpy(to, host(from), bytes); });
}

STANDIN CUresult CUDAAPI cuMemsetD32Async(CUdeviceptr to, unsigned int value, std::size_t count,
                                          CUstream stream) {
  return enqueue(stream, [=] {
    auto* const words = static_cast<unsigned int*>(host(to));
    for (std::size_t i = 0; i < count; ++i) words[i] = value;
  });
}

STANDIN CUresult CUDAAPI cuLaunchHostFunc(CUstream stream, CUhostFn function, void* argument) {
  DriverState& driver = state();
  const std::lock_guard lock(driver.mutex);
  const auto found = driver.find(stream);
  if (found == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  found->queue.add([=] { function(argument); });
  return CUDA_SUCCESS;
}

// Not NVIDIA's: how many streams, events, allocations and
// held contexts there are, for tests that look for leaks.
STANDIN std::size_t hvd_standin_live_objects() {
  const std::lock_guard lock(state().mutex);
  std::size_t live = state().streams.size() + state().events.size() + state().memory.size();
  for (const Context& context : state().contexts) live += static_cast<std::size_t>(context.holders);
  return live;
}

}  // extern "C"
