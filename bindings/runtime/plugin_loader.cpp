#include "bindings/runtime/plugin_loader.h"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string_view>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

constexpr std::string_view kRemedy =
    ". Install the plugin that belongs to this horovod_cpp, or name its folder in HVD_PLUGIN_PATH.";

#if defined(__x86_64__)
constexpr const char* kMultiarch = "x86_64-linux-gnu";
#elif defined(__aarch64__)
constexpr const char* kMultiarch = "aarch64-linux-gnu";
#else
constexpr const char* kMultiarch = nullptr;
#endif

Status refused(const std::string& file, const std::string& why) {
  return Status::unavailable(text("plugin ", file, ": ", why, kRemedy));
}

// The folder of the library or executable that this function is linked into.
std::optional<std::filesystem::path> own_folder() {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&own_folder), &info) == 0 || info.dli_fname == nullptr)
    return std::nullopt;
  std::error_code error;
  // For an executable the name is argv[0], which may be relative or not a path at all.
  auto file = std::filesystem::canonical(info.dli_fname, error);
  if (error) file = std::filesystem::canonical("/proc/self/exe", error);
  if (error) return std::nullopt;
  return file.parent_path();
}

// ok if `table` may be used. Later versions may lay the table out differently: nothing but the first two
// members is read before they are known to agree.
Status check_table(const std::string& file, const PluginTable* table) {
  if (table == nullptr) return refused(file, text(kPluginEntryName, " returned no table"));
  if (table->abi_version != kPluginAbiVersion) {
    return refused(file, text("was built for plugin interface ", table->abi_version, ", this horovod_cpp (",
                              HVD_VERSION, ") has ", kPluginAbiVersion));
  }
  if (table->struct_size != sizeof(PluginTable)) {
    return refused(file, text("has a table of ", table->struct_size, " bytes, this horovod_cpp (",
                              HVD_VERSION, ") expects ", sizeof(PluginTable)));
  }
  const std::string version = table->version != nullptr ? table->version : "of unknown version";
  if (version != HVD_VERSION) {
    return refused(file, text("belongs to horovod_cpp ", version, ", this is horovod_cpp ", HVD_VERSION));
  }
  if (table->probe == nullptr) return refused(file, "its table has no probe function");
  return {};
}

Result<const PluginTable*> load_file(const std::string& file) {
  void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = ::dlerror();
    return Status::unavailable(text("plugin ", file,
                                    " cannot be loaded: ", reason != nullptr ? reason : "no reason given",
                                    ". Install the library that it names."));
  }
  auto* const entry = reinterpret_cast<PluginEntry*>(::dlsym(library, kPluginEntryName));
  if (entry == nullptr)
    return refused(file, text("exports no ", kPluginEntryName, ": it is no horovod_cpp plugin"));
  const PluginTable* table = entry();
  HVD_RETURN_IF_ERROR(check_table(file, table));
  return table;
}

}  // namespace

std::vector<std::string> plugin_folders(const EnvironmentLookup& lookup) {
  std::vector<std::string> folders;
  const std::string listed = lookup("HVD_PLUGIN_PATH").value_or("");
  for (std::size_t at = 0; at <= listed.size();) {
    const std::size_t end = std::min(listed.find(':', at), listed.size());
    if (end > at) folders.push_back(listed.substr(at, end - at));
    at = end + 1;
  }
  if (const auto own = own_folder()) {
    const auto lib = own->parent_path() / "lib";
    // The library itself lies in lib: two of these are the same then.
    std::vector<std::filesystem::path> candidates{*own / "horovod_cpp", lib / "horovod_cpp"};
    if (kMultiarch != nullptr) candidates.push_back(lib / kMultiarch / "horovod_cpp");
    for (const auto& folder : candidates) {
      if (std::ranges::find(folders, folder.string()) == folders.end()) folders.push_back(folder);
    }
  }
  return folders;
}

Result<const PluginTable*> load_plugin(const std::string& name, const std::vector<std::string>& folders) {
  std::string tried;
  for (const std::string& folder : folders) {
    const auto file = std::filesystem::path(folder) / text("hvd_", name, ".so");
    std::error_code error;
    if (std::filesystem::exists(file, error)) return load_file(file.string());
    tried += text(tried.empty() ? "" : ", ", file.string());
  }
  return Status::unavailable(
      text("no plugin '", name, "': looked for ", tried.empty() ? "it nowhere" : tried, kRemedy));
}

Result<const PluginTable*> load_plugin(const std::string& name) {
  return load_plugin(name, plugin_folders(process_environment()));
}

}  // namespace hvd
