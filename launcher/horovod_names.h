// What hvdrun --as-horovod gives to Python: a folder whose package horovod is horovod_cpp
// (bindings/python/horovod_cpp/horovod_names).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "horovod_cpp/base/status.h"

namespace hvd::launcher {

// `launcher_folder`: where hvdrun is. In a wheel that is bin/ in the package; a build tree has the package in
// python/ beside bin/. unavailable: this hvdrun came without the Python package; one line for the user.
Result<std::string> find_horovod_names(const std::filesystem::path& launcher_folder);

// PYTHONPATH that has `folder` first, then what `inherited` has. Pure.
std::string python_path_from(const std::string& folder, std::string_view inherited);

}  // namespace hvd::launcher
