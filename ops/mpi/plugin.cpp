// The plugin's table: see horovod_cpp/ports/plugin.h.
#include "horovod_cpp/ports/plugin.h"

#include "horovod_cpp/base/config.h"
#include "ops/mpi/mpi_collectives.h"
#include "ops/mpi/mpi_runtime.h"
#include "ops/mpi/mpi_transport.h"

namespace hvd::mpi {
namespace {

// Runs `open` and puts its value into `*out`.
template <class T, class Open>
Status deliver(T* out, Open&& open) noexcept {
  auto opened = open();
  HVD_RETURN_IF_ERROR(opened.status());
  *out = std::move(opened).value();
  return {};
}

Status probe(std::string* details) noexcept {
  *details = library_version();
  return {};
}

Status open_transport(std::unique_ptr<Transport>* out) noexcept {
  return deliver(out, []() -> Result<std::unique_ptr<Transport>> {
    const auto config = Config::from(process_environment());
    HVD_RETURN_IF_ERROR(config.status());
    const auto runtime = Runtime::open();
    HVD_RETURN_IF_ERROR(runtime.status());
    return mpi::open_transport(*runtime.value(), Deadline::after(config.value().start_timeout));
  });
}

Status open_collectives(Transport& bootstrap, const std::shared_ptr<Device>& device, Deadline deadline,
                        std::unique_ptr<Collectives>* out) noexcept {
  if (device != nullptr) {
    return Status::unavailable(
        "the MPI plugin reduces host memory only: device memory needs the cuda plugin");
  }
  return deliver(out, [&] { return mpi::open_collectives(Runtime::open(), bootstrap, deadline); });
}

constexpr PluginTable kTable{.name = "mpi",
                             .version = HVD_VERSION,
                             .probe = &probe,
                             .open_transport = &open_transport,
                             .open_device = nullptr,
                             .open_collectives = &open_collectives};

}  // namespace
}  // namespace hvd::mpi

extern "C" __attribute__((visibility("default"))) const hvd::PluginTable* hvd_plugin_entry() {
  return &hvd::mpi::kTable;
}
