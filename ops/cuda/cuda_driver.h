// The functions of the CUDA driver (libcuda.so.1) that we use, found while the program runs.
//
// Fields are called as NVIDIA's header calls the functions, and have their types.
#pragma once

#include <memory>
#include <string>

#include "horovod_cpp/base/status.h"
#include "ops/cuda/nvidia_headers.h"

// clang-format off
#define HVD_CUDA_DRIVER_FUNCTIONS(X)                                                             \
  X(cuInit) X(cuDriverGetVersion) X(cuGetErrorName) X(cuGetErrorString)                          \
  X(cuDeviceGetCount) X(cuDeviceGet) X(cuDeviceGetName) X(cuDeviceGetAttribute)                  \
  X(cuDevicePrimaryCtxRetain) X(cuDevicePrimaryCtxRelease)                                       \
  X(cuCtxPushCurrent) X(cuCtxPopCurrent) X(cuCtxGetStreamPriorityRange)                          \
  X(cuStreamCreateWithPriority) X(cuStreamDestroy) X(cuStreamWaitEvent)                          \
  X(cuEventCreate) X(cuEventDestroy) X(cuEventRecord) X(cuEventQuery)                            \
  X(cuMemAlloc) X(cuMemFree) X(cuMemcpyDtoDAsync) X(cuMemsetD32Async)
// clang-format on

namespace hvd {

struct CudaDriver {
#define HVD_FIELD(function) decltype(&::function) function = nullptr;  // NOLINT(bugprone-macro-parentheses)
  HVD_CUDA_DRIVER_FUNCTIONS(HVD_FIELD)
#undef HVD_FIELD

  // Loads the library and initialises it; makes no context. unavailable says what is missing and what to do.
  static Result<std::shared_ptr<const CudaDriver>> load();

  Result<int> device_count() const;
  // "CUDA_ERROR_OUT_OF_MEMORY (out of memory)"
  std::string words_for(CUresult result) const;
  // ok, or aborted with `what` and the driver's words; lack of memory is unavailable.
  Status check(CUresult result, const char* what) const;
};

}  // namespace hvd
