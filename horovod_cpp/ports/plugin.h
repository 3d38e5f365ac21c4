// The contract between the core and a backend plugin (a shared object that links a vendor library the core must not link).
//
// A plugin exports one function, hvd_plugin_entry (C linkage), that returns a table with static lifetime. The loader
// (bindings/runtime) refuses a table whose abi_version, struct_size or version differs from its own, naming both. Nothing is
// thrown across; a plugin is never unloaded.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "horovod_cpp/ports/collectives.h"
#include "horovod_cpp/ports/device.h"
#include "horovod_cpp/ports/transport.h"

namespace hvd {

// Changes whenever a port or this table does.
inline constexpr std::uint32_t kPluginAbiVersion = 4;

struct PluginTable {
  std::uint32_t abi_version = kPluginAbiVersion;
  std::uint32_t struct_size = sizeof(PluginTable);
  const char* name = nullptr;     // "mpi", "cuda"
  const char* version = nullptr;  // HVD_VERSION the plugin was built from

  // Looks for the vendor library. ok: `*details` says what was found ("Open MPI 4.1.4"). Otherwise the Status says what is
  // missing and what to do. Starts nothing; may be called before anything else, by --check-build.
  Status (*probe)(std::string* details) noexcept = nullptr;

  // The functions below are nullptr where the backend has no such thing.

  // A transport between the ranks that the vendor's own launcher started. Initialises the vendor library if nobody has.
  Status (*open_transport)(std::unique_ptr<Transport>* out) noexcept = nullptr;
  // Device number `index` of this machine.
  Status (*open_device)(int index, std::shared_ptr<Device>* out) noexcept = nullptr;
  // `bootstrap` is only used during the call, collectively. `device` is nullptr for host memory.
  Status (*open_collectives)(Transport& bootstrap, const std::shared_ptr<Device>& device, Deadline deadline,
                             std::unique_ptr<Collectives>* out) noexcept = nullptr;
};

// The type and the name of the exported function.
using PluginEntry = const PluginTable*();
inline constexpr const char* kPluginEntryName = "hvd_plugin_entry";

}  // namespace hvd
