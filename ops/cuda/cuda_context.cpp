#include "ops/cuda/cuda_context.h"

#include "horovod_cpp/base/text.h"

namespace hvd {

Result<std::shared_ptr<CudaContext>> CudaContext::retain(std::shared_ptr<const CudaDriver> driver,
                                                         int index) {
  const auto count = driver->device_count();
  if (!count.is_ok()) return count.status();
  if (index < 0 || index >= count.value()) {
    return Status::unavailable(
        text("cuda:", index, " does not exist: this process sees ", count.value(),
             " CUDA devices (see CUDA_VISIBLE_DEVICES); run at most one rank a device"));
  }
  std::shared_ptr<CudaContext> context(new CudaContext(std::move(driver), index));
  const CudaDriver& cuda = context->driver();
  HVD_RETURN_IF_ERROR(context->check(cuda.cuDeviceGet(&context->device_, index), "cuDeviceGet"));
  int major = 0;
  int minor = 0;
  HVD_RETURN_IF_ERROR(context->check(
      cuda.cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, context->device_),
      "cuDeviceGetAttribute"));
  HVD_RETURN_IF_ERROR(context->check(
      cuda.cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, context->device_),
      "cuDeviceGetAttribute"));
  context->compute_capability_ = 10 * major + minor;
  HVD_RETURN_IF_ERROR(context->check(cuda.cuDevicePrimaryCtxRetain(&context->context_, context->device_),
                                     "cuDevicePrimaryCtxRetain"));
  return context;
}

CudaContext::~CudaContext() {
  if (context_ != nullptr) driver_->cuDevicePrimaryCtxRelease(device_);
}

Status CudaContext::check(CUresult result, const char* what) const {
  if (result == CUDA_SUCCESS) return {};
  return driver_->check(result, what).with_prefix(text("cuda:", index_, ": "));
}

}  // namespace hvd
