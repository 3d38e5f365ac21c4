// Finds and loads the shared objects that link a vendor's library (horovod_cpp/ports/plugin.h).
//
// Keeps no state: the dynamic linker gives the same object for the same file, and none is ever unloaded.
// Threading: any thread.
#pragma once

#include <string>
#include <vector>

#include "horovod_cpp/base/config.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/ports/plugin.h"

namespace hvd {

// Where plugins are looked for, in this order: the colon-separated folders of HVD_PLUGIN_PATH; then, relative
// to the folder of the library or executable that contains this code: horovod_cpp, ../lib/horovod_cpp,
// ../lib/<multiarch>/horovod_cpp.
std::vector<std::string> plugin_folders(const EnvironmentLookup& lookup);

// Loads hvd_<name>.so from the first of `folders` that has it. `unavailable` says what is missing, in which
// place, and what to do: no such file, not loadable (a library it needs is not installed), no entry, or made
// for another version of horovod_cpp. The table lives as long as the process.
Result<const PluginTable*> load_plugin(const std::string& name, const std::vector<std::string>& folders);

// From the usual places, with this process's environment.
Result<const PluginTable*> load_plugin(const std::string& name);

}  // namespace hvd
