#include "ops/cuda/cuda_stream.h"

#include <algorithm>
#include <thread>

#include "horovod_cpp/base/text.h"

namespace hvd {

void Backoff::pause() {
  constexpr int kYields = 64;
  constexpr int kPausesPerDoubling = 16;
  constexpr auto kShortest = std::chrono::microseconds(8);
  constexpr int kDoublings = 7;  // to about 1 ms
  ++pauses_;
  if (pauses_ <= kYields) {
    std::this_thread::yield();
    return;
  }
  const int doublings = std::min(kDoublings, (pauses_ - kYields) / kPausesPerDoubling);
  std::this_thread::sleep_for(kShortest * (1 << doublings));
}

Result<std::shared_ptr<CudaEvent>> CudaEvent::record(std::shared_ptr<CudaContext> context, CUstream stream) {
  std::shared_ptr<CudaEvent> event(new CudaEvent(std::move(context)));
  const CudaContext& cuda = *event->context_;
  const CudaContext::Current current(cuda);
  HVD_RETURN_IF_ERROR(current.status());
  HVD_RETURN_IF_ERROR(
      cuda.check(cuda.driver().cuEventCreate(&event->event_, CU_EVENT_DISABLE_TIMING), "cuEventCreate"));
  HVD_RETURN_IF_ERROR(cuda.check(cuda.driver().cuEventRecord(event->event_, stream), "cuEventRecord"));
  return event;
}

CudaEvent::~CudaEvent() {
  if (event_ == nullptr) return;
  const CudaContext::Current current(*context_);
  context_->driver().cuEventDestroy(event_);
}

Result<bool> CudaEvent::is_complete() {
  const CudaContext::Current current(*context_);
  HVD_RETURN_IF_ERROR(current.status());
  const CUresult result = context_->driver().cuEventQuery(event_);
  if (result == CUDA_ERROR_NOT_READY) return false;
  HVD_RETURN_IF_ERROR(context_->check(result, "cuEventQuery"));
  return true;
}

// Not cuEventSynchronize: that has no deadline.
Status CudaEvent::synchronize(Deadline deadline) {
  for (Backoff backoff;; backoff.pause()) {
    const auto complete = is_complete();
    if (!complete.is_ok()) return complete.status();
    if (complete.value()) return {};
    if (deadline.passed()) {
      return Status::timed_out(
          text("cuda:", context_->index(), ": the work before an event was not finished in time"));
    }
  }
}

Result<std::unique_ptr<CudaStream>> CudaStream::create(std::shared_ptr<CudaContext> context) {
  std::unique_ptr<CudaStream> out(new CudaStream(std::move(context), nullptr, true));
  const CudaContext& cuda = *out->context_;
  const CudaContext::Current current(cuda);
  HVD_RETURN_IF_ERROR(current.status());
  int least = 0;
  int greatest = 0;
  HVD_RETURN_IF_ERROR(cuda.check(cuda.driver().cuCtxGetStreamPriorityRange(&least, &greatest),
                                 "cuCtxGetStreamPriorityRange"));
  HVD_RETURN_IF_ERROR(
      cuda.check(cuda.driver().cuStreamCreateWithPriority(&out->stream_, CU_STREAM_NON_BLOCKING, greatest),
                 "cuStreamCreateWithPriority"));
  return out;
}

std::unique_ptr<CudaStream> CudaStream::adopt(std::shared_ptr<CudaContext> context, CUstream stream) {
  return std::unique_ptr<CudaStream>(new CudaStream(std::move(context), stream, false));
}

CudaStream::~CudaStream() {
  if (!is_owned_ || stream_ == nullptr) return;
  const CudaContext::Current current(*context_);
  context_->driver().cuStreamDestroy(stream_);
}

Result<std::shared_ptr<Event>> CudaStream::record() {
  auto event = CudaEvent::record(context_, stream_);
  if (!event.is_ok()) return event.status();
  return std::shared_ptr<Event>(std::move(event).value());
}

Status CudaStream::wait(const Event& event) {
  const auto handle = static_cast<CUevent>(event.native_handle());
  if (handle == nullptr) {
    return Status::invalid_argument(
        text("cuda:", context_->index(), ": a stream cannot wait for an event that is not a CUDA event"));
  }
  const CudaContext::Current current(*context_);
  HVD_RETURN_IF_ERROR(current.status());
  return context_->check(context_->driver().cuStreamWaitEvent(stream_, handle, CU_EVENT_WAIT_DEFAULT),
                         "cuStreamWaitEvent");
}

}  // namespace hvd
