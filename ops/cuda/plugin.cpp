// The CUDA plugin's table. Contract: ports/plugin.h.
#include "horovod_cpp/ports/plugin.h"

#include <exception>
#include <utility>

#include "horovod_cpp/base/text.h"
#include "ops/cuda/cuda_device.h"
#include "ops/cuda/nccl_collectives.h"

namespace hvd {
namespace {

// Nothing is thrown across the plugin's border.
template <class Body>
Status guarded(const Body& body) noexcept {
  try {
    return body();
  } catch (const std::exception& error) {
    return Status::internal(error.what());
  }
}

Status probe(std::string* details) noexcept {
  return guarded([&]() -> Status {
    const auto driver = CudaDriver::load();
    if (!driver.is_ok()) return driver.status();
    const auto devices = driver.value()->device_count();
    if (!devices.is_ok()) return devices.status();
    if (devices.value() == 0)
      return Status::unavailable("the CUDA driver shows no device (see CUDA_VISIBLE_DEVICES)");
    int version = 0;
    HVD_RETURN_IF_ERROR(
        driver.value()->check(driver.value()->cuDriverGetVersion(&version), "cuDriverGetVersion"));
    const auto nccl = NcclLibrary::load();
    if (!nccl.is_ok()) return nccl.status();
    *details = text("CUDA driver for ", version / 1000, ".", version % 1000 / 10, ", ", devices.value(),
                    devices.value() == 1 ? " device" : " devices", ", NCCL ",
                    nccl_version_name(nccl.value()->version), " (", nccl.value()->file, ")");
    return {};
  });
}

Status open_device(int index, std::shared_ptr<Device>* out) noexcept {
  return guarded([&]() -> Status {
    auto device = CudaDevice::open(index);
    if (!device.is_ok()) return device.status();
    *out = std::move(device).value();
    return {};
  });
}

Status open_collectives(Transport& bootstrap, const std::shared_ptr<Device>& device, Deadline deadline,
                        std::unique_ptr<Collectives>* out) noexcept {
  return guarded([&]() -> Status {
    auto collectives =
        NcclCollectives::open(bootstrap, std::dynamic_pointer_cast<CudaDevice>(device), deadline);
    if (!collectives.is_ok()) return collectives.status();
    *out = std::move(collectives).value();
    return {};
  });
}

constexpr PluginTable kTable{
    .name = "cuda",
    .version = HVD_VERSION,
    .probe = probe,
    .open_device = open_device,
    .open_collectives = open_collectives,
};

}  // namespace
}  // namespace hvd

extern "C" __attribute__((visibility("default"))) const hvd::PluginTable* hvd_plugin_entry();
const hvd::PluginTable* hvd_plugin_entry() { return &hvd::kTable; }
