// One device's primary context: the one that the CUDA runtime, PyTorch and NCCL use too.
//
// Threading: any thread; a Current is for the thread that made it.
// Ownership: shared by everything that lives in the context, so that nothing outlives it.
#pragma once

#include <memory>

#include "horovod_cpp/base/status.h"
#include "ops/cuda/cuda_driver.h"

namespace hvd {

class CudaContext {
 public:
  // unavailable names the index and how many devices there are.
  static Result<std::shared_ptr<CudaContext>> retain(std::shared_ptr<const CudaDriver> driver, int index);
  ~CudaContext();
  CudaContext(const CudaContext&) = delete;
  CudaContext& operator=(const CudaContext&) = delete;

  const CudaDriver& driver() const { return *driver_; }
  int index() const { return index_; }
  // 90 for compute capability 9.0.
  int compute_capability() const { return compute_capability_; }
  // ok, or the driver's words with the device's name before them.
  Status check(CUresult result, const char* what) const;

  // Makes the context current on this thread for a scope, and leaves the thread as it was.
  class Current {
   public:
    explicit Current(const CudaContext& context)
        : context_(context),
          status_(context.check(context.driver().cuCtxPushCurrent(context.context_), "cuCtxPushCurrent")) {}
    ~Current() {
      CUcontext popped = nullptr;
      if (status_.is_ok()) context_.driver().cuCtxPopCurrent(&popped);
    }
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;
    const Status& status() const { return status_; }

   private:
    const CudaContext& context_;
    Status status_;
  };

 private:
  CudaContext(std::shared_ptr<const CudaDriver> driver, int index)
      : driver_(std::move(driver)), index_(index) {}

  std::shared_ptr<const CudaDriver> driver_;
  int index_;
  int compute_capability_ = 0;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
};

}  // namespace hvd
