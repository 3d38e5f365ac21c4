#include "bindings/torch/device_order.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <thread>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

// An event of the framework, through c10's registry: no CUDA header or library is needed to build this.
class FrameworkEvent final : public Event {
 public:
  explicit FrameworkEvent(c10::Device device) : guard_(device.type()), device_(device) {
    guard_.record(&event_, guard_.getStream(device), device.index(), c10::EventFlag::BACKEND_DEFAULT);
  }
  FrameworkEvent(const FrameworkEvent&) = delete;
  FrameworkEvent& operator=(const FrameworkEvent&) = delete;
  ~FrameworkEvent() override {
    if (event_ != nullptr) guard_.destroyEvent(event_, device_.index());
  }
  Result<bool> is_complete() override { return guard_.queryEvent(event_); }
  Status synchronize(Deadline deadline) override {
    while (!guard_.queryEvent(event_)) {
      if (deadline.passed())
        return Status::timed_out(text("device ", device_.str(), " did not reach an event in time"));
      std::this_thread::yield();
    }
    return {};
  }
  void* native_handle() const override { return event_; }

 private:
  c10::impl::VirtualGuardImpl guard_;
  c10::Device device_;
  void* event_ = nullptr;
};

}  // namespace

Result<std::shared_ptr<const Event>> point_in_current_stream(c10::Device device) {
  if (device.is_cpu()) return std::shared_ptr<const Event>();
  if (!c10::impl::hasDeviceGuardImpl(device.type())) {
    return Status::unavailable(
        text("device ", device.str(), ": this LibTorch was built without support for it"));
  }
  return std::shared_ptr<const Event>(std::make_shared<FrameworkEvent>(device));
}

void let_current_stream_wait(const std::shared_ptr<Event>& event, c10::Device device) {
  if (!event || device.is_cpu()) return;
  const c10::impl::VirtualGuardImpl guard(device.type());
  guard.block(event->native_handle(), guard.getStream(device));
}

}  // namespace hvd
