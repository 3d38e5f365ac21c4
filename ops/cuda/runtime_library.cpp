#include "ops/cuda/runtime_library.h"

#include <dlfcn.h>

namespace hvd {
namespace {

std::string linker_error() {
  const char* words = dlerror();
  return words == nullptr ? "unknown error of the dynamic linker" : words;
}

}  // namespace

Result<RuntimeLibrary> RuntimeLibrary::already_loaded(const std::string& name) {
  void* const handle = dlopen(name.c_str(), RTLD_NOLOAD | RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return Status::unavailable(name + " is not in this process");
  return RuntimeLibrary(handle);
}

RuntimeLibrary RuntimeLibrary::whole_program() { return RuntimeLibrary(RTLD_DEFAULT); }

Result<RuntimeLibrary> RuntimeLibrary::load(const std::string& name_or_path) {
  void* const handle = dlopen(name_or_path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return Status::unavailable(linker_error());
  return RuntimeLibrary(handle);
}

void* RuntimeLibrary::find(const char* symbol) const { return dlsym(handle_, symbol); }

std::string file_of_function(const void* function) {
  Dl_info info{};
  if (dladdr(function, &info) == 0 || info.dli_fname == nullptr) return {};
  return info.dli_fname;
}

}  // namespace hvd
