#include "ops/cuda/cuda_driver.h"

#include "horovod_cpp/base/text.h"
#include "ops/cuda/runtime_library.h"

namespace hvd {

Result<std::shared_ptr<const CudaDriver>> CudaDriver::load() {
  const auto library = RuntimeLibrary::load("libcuda.so.1");
  if (!library.is_ok()) {
    return Status::unavailable(text("no CUDA driver: ", library.status().message(),
                                    "; install the NVIDIA driver (in a container: run it with --gpus all)"));
  }
  auto driver = std::make_shared<CudaDriver>();
  FunctionLookup lookup(library.value());
#define HVD_LOOK_UP(function) lookup.need(driver->function, HVD_LINKED_NAME(function));
  HVD_CUDA_DRIVER_FUNCTIONS(HVD_LOOK_UP)
#undef HVD_LOOK_UP
  if (!lookup.missing().empty()) {
    return Status::unavailable(text("libcuda.so.1 has no ", lookup.missing().front(), " (",
                                    lookup.missing().size(),
                                    " functions missing); update the NVIDIA driver"));
  }
  if (const CUresult result = driver->cuInit(0); result != CUDA_SUCCESS) {
    return Status::unavailable(text("cuInit: ", driver->words_for(result),
                                    "; check that nvidia-smi works and CUDA_VISIBLE_DEVICES names a device"));
  }
  return std::shared_ptr<const CudaDriver>(std::move(driver));
}

Result<int> CudaDriver::device_count() const {
  int count = 0;
  HVD_RETURN_IF_ERROR(check(cuDeviceGetCount(&count), "cuDeviceGetCount"));
  return count;
}

std::string CudaDriver::words_for(CUresult result) const {
  const char* name = nullptr;
  const char* words = nullptr;
  if (cuGetErrorName(result, &name) != CUDA_SUCCESS || name == nullptr)
    return text("CUDA error ", int{result});
  if (cuGetErrorString(result, &words) != CUDA_SUCCESS || words == nullptr) return name;
  return text(name, " (", words, ")");
}

Status CudaDriver::check(CUresult result, const char* what) const {
  if (result == CUDA_SUCCESS) return {};
  const auto code = result == CUDA_ERROR_OUT_OF_MEMORY ? StatusCode::unavailable : StatusCode::aborted;
  return {code, text(what, ": ", words_for(result))};
}

}  // namespace hvd
