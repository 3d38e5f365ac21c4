// A CUDA device as the core sees it. Contract: ports/device.h.
//
// gather and scatter copy slice by slice and take scale 1 only: scaling needs
// a kernel of ours, which comes with the pack kernels. NCCL reduces the
// tensors where they are and scales by itself, so nothing here needs more yet.
#pragma once

#include <memory>

#include "horovod_cpp/ports/device.h"
#include "ops/cuda/cuda_context.h"

namespace hvd {

class CudaDevice final : public Device {
 public:
  static Result<std::shared_ptr<CudaDevice>> open(int index);

  DeviceId id() const override { return {DeviceType::cuda, context_->index()}; }
  // Freeing may wait for all of the device's work: end what can hang (Collectives::abort) first.
  Result<std::unique_ptr<DeviceMemory>> allocate(std::size_t bytes) override;
  Result<std::unique_ptr<Stream>> create_stream() override;
  std::unique_ptr<Stream> adopt_stream(void* native_handle) override;
  Status gather(std::span<const DeviceSlice> slices, void* packed, DataType dtype, double scale,
                Stream& stream) override;
  Status scatter(const void* packed, std::span<const DeviceSlice> slices, DataType dtype, double scale,
                 Stream& stream) override;

  const std::shared_ptr<CudaContext>& context() const { return context_; }

 private:
  explicit CudaDevice(std::shared_ptr<CudaContext> context) : context_(std::move(context)) {}

  std::shared_ptr<CudaContext> context_;
};

}  // namespace hvd
