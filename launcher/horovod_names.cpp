#include "launcher/horovod_names.h"

#include "horovod_cpp/base/text.h"

namespace hvd::launcher {

Result<std::string> find_horovod_names(const std::filesystem::path& launcher_folder) {
  const std::filesystem::path beside = launcher_folder.parent_path();
  for (const auto& package : {beside, beside / "python" / "horovod_cpp"}) {
    const auto folder = package / "horovod_names";
    std::error_code error;
    if (std::filesystem::exists(folder / "horovod" / "__init__.py", error)) return folder.string();
  }
  return Status::unavailable(text("--as-horovod: ", launcher_folder.string(),
                                  "/hvdrun came without the Python package: use the hvdrun that pip "
                                  "install has put on PATH, or build the target hvd_python"));
}

std::string python_path_from(const std::string& folder, std::string_view inherited) {
  // An empty entry would be the current folder.
  return inherited.empty() ? folder : text(folder, ":", inherited);
}

}  // namespace hvd::launcher
