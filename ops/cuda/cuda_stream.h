// Streams and events of one device. Contracts: ports/device.h.
#pragma once

#include <memory>

#include "horovod_cpp/ports/device.h"
#include "ops/cuda/cuda_context.h"

namespace hvd {

class CudaEvent final : public Event {
 public:
  // Recorded on `stream`, which must belong to `context`.
  static Result<std::shared_ptr<CudaEvent>> record(std::shared_ptr<CudaContext> context, CUstream stream);
  ~CudaEvent() override;

  Result<bool> is_complete() override;
  Status synchronize(Deadline deadline) override;
  void* native_handle() const override { return event_; }

 private:
  explicit CudaEvent(std::shared_ptr<CudaContext> context) : context_(std::move(context)) {}

  std::shared_ptr<CudaContext> context_;
  CUevent event_ = nullptr;
};

class CudaStream final : public Stream {
 public:
  // A non-blocking stream of the highest priority.
  static Result<std::unique_ptr<CudaStream>> create(std::shared_ptr<CudaContext> context);
  static std::unique_ptr<CudaStream> adopt(std::shared_ptr<CudaContext> context, CUstream stream);
  ~CudaStream() override;

  void* native_handle() const override { return stream_; }
  Result<std::shared_ptr<Event>> record() override;
  Status wait(const Event& event) override;

 private:
  CudaStream(std::shared_ptr<CudaContext> context, CUstream stream, bool is_owned)
      : context_(std::move(context)), stream_(stream), is_owned_(is_owned) {}

  std::shared_ptr<CudaContext> context_;
  CUstream stream_;
  bool is_owned_;
};

// Sleeps between looks at something that has no descriptor to sleep on: short at first, at most 1 ms.
class Backoff {
 public:
  void pause();

 private:
  int pauses_ = 0;
};

}  // namespace hvd
