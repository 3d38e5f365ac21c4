// Looking up functions of a vendor's library while the program runs,
// so that the plugin has no NEEDED entry for it.
//
// Values. A library is never closed: code of it may run until the process ends.
#pragma once

#include <string>
#include <vector>

#include "horovod_cpp/base/status.h"

namespace hvd {

class RuntimeLibrary {
 public:
  // A library that is in the process already,
  // by the name it was linked as ("libnccl.so.2"); unavailable otherwise.
  static Result<RuntimeLibrary> already_loaded(const std::string& name);
  // Everything that the program itself was linked with.
  static RuntimeLibrary whole_program();
  // By the dynamic linker's search, or a path. unavailable says the linker's own words.
  static Result<RuntimeLibrary> load(const std::string& name_or_path);

  // nullptr if there is no such function.
  void* find(const char* symbol) const;

 private:
  explicit RuntimeLibrary(void* handle) : handle_(handle) {}
  void* handle_;
};

// The file that a function's code came from; empty if unknown.
std::string file_of_function(const void* function);

// Fills a table of functions and remembers which were missing.
class FunctionLookup {
 public:
  explicit FunctionLookup(const RuntimeLibrary& library) : library_(library) {}

  template <class Function>
  void need(Function*& function, const char* symbol) {
    optional(function, symbol);
    if (function == nullptr) missing_.emplace_back(symbol);
  }
  template <class Function>
  void optional(Function*& function, const char* symbol) {
    function = reinterpret_cast<Function*>(library_.find(symbol));
  }
  const std::vector<std::string>& missing() const { return missing_; }

 private:
  RuntimeLibrary library_;
  std::vector<std::string> missing_;
};

}  // namespace hvd

// The name that the linker knows a function by: NVIDIA's headers rename many (cuMemAlloc is cuMemAlloc_v2).
#define HVD_LINKED_NAME_OF(function) #function
#define HVD_LINKED_NAME(function) HVD_LINKED_NAME_OF(function)
