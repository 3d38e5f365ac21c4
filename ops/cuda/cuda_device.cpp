#include "ops/cuda/cuda_device.h"

#include <algorithm>

#include "horovod_cpp/base/text.h"
#include "ops/cuda/cuda_stream.h"

namespace hvd {
namespace {

class CudaMemory final : public DeviceMemory {
 public:
  CudaMemory(std::shared_ptr<CudaContext> context, CUdeviceptr pointer, std::size_t bytes)
      : context_(std::move(context)), pointer_(pointer), bytes_(bytes) {}
  ~CudaMemory() override {
    const CudaContext::Current current(*context_);
    context_->driver().cuMemFree(pointer_);
  }
  CudaMemory(const CudaMemory&) = delete;
  CudaMemory& operator=(const CudaMemory&) = delete;

  void* data() const override { return reinterpret_cast<void*>(pointer_); }
  std::size_t size_in_bytes() const override { return bytes_; }

 private:
  std::shared_ptr<CudaContext> context_;
  CUdeviceptr pointer_;
  std::size_t bytes_;
};

CUdeviceptr device_pointer(const void* pointer) { return reinterpret_cast<CUdeviceptr>(pointer); }

Status refuse_scale(const char* operation, double scale) {
  if (scale == 1.0) return {};
  return Status::unimplemented(text(operation, " on CUDA with scale ", scale,
                                    ": this build has no pack kernels, only plain copies (scale 1)"));
}

}  // namespace

Result<std::shared_ptr<CudaDevice>> CudaDevice::open(int index) {
  auto driver = CudaDriver::load();
  if (!driver.is_ok()) return driver.status();
  auto context = CudaContext::retain(std::move(driver).value(), index);
  if (!context.is_ok()) return context.status();
  return std::shared_ptr<CudaDevice>(new CudaDevice(std::move(context).value()));
}

Result<std::unique_ptr<DeviceMemory>> CudaDevice::allocate(std::size_t bytes) {
  const CudaContext::Current current(*context_);
  HVD_RETURN_IF_ERROR(current.status());
  CUdeviceptr pointer = 0;
  // The driver refuses 0 bytes.
  HVD_RETURN_IF_ERROR(
      context_->check(context_->driver().cuMemAlloc(&pointer, std::max<std::size_t>(bytes, 1)), "cuMemAlloc")
          .with_prefix(text("allocating ", bytes, " bytes: ")));
  return std::unique_ptr<DeviceMemory>(std::make_unique<CudaMemory>(context_, pointer, bytes));
}

Result<std::unique_ptr<Stream>> CudaDevice::create_stream() {
  auto stream = CudaStream::create(context_);
  if (!stream.is_ok()) return stream.status();
  return std::unique_ptr<Stream>(std::move(stream).value());
}

std::unique_ptr<Stream> CudaDevice::adopt_stream(void* native_handle) {
  return CudaStream::adopt(context_, static_cast<CUstream>(native_handle));
}

Status CudaDevice::gather(std::span<const DeviceSlice> slices, void* packed, DataType dtype, double scale,
                          Stream& stream) {
  HVD_RETURN_IF_ERROR(refuse_scale("gather", scale));
  const CudaContext::Current current(*context_);
  HVD_RETURN_IF_ERROR(current.status());
  const auto native = static_cast<CUstream>(stream.native_handle());
  auto* to = static_cast<std::byte*>(packed);
  for (const DeviceSlice& slice : slices) {
    const std::size_t bytes = slice.count * size_in_bytes(dtype);
    if (bytes == 0) continue;
    HVD_RETURN_IF_ERROR(context_->check(
        context_->driver().cuMemcpyDtoDAsync(device_pointer(to), device_pointer(slice.data), bytes, native),
        "cuMemcpyDtoDAsync"));
    to += bytes;
  }
  return {};
}

Status CudaDevice::scatter(const void* packed, std::span<const DeviceSlice> slices, DataType dtype,
                           double scale, Stream& stream) {
  HVD_RETURN_IF_ERROR(refuse_scale("scatter", scale));
  const CudaContext::Current current(*context_);
  HVD_RETURN_IF_ERROR(current.status());
  const auto native = static_cast<CUstream>(stream.native_handle());
  const auto* from = static_cast<const std::byte*>(packed);
  for (const DeviceSlice& slice : slices) {
    const std::size_t bytes = slice.count * size_in_bytes(dtype);
    if (bytes == 0) continue;
    HVD_RETURN_IF_ERROR(context_->check(
        context_->driver().cuMemcpyDtoDAsync(device_pointer(slice.data), device_pointer(from), bytes, native),
        "cuMemcpyDtoDAsync"));
    from += bytes;
  }
  return {};
}

}  // namespace hvd
