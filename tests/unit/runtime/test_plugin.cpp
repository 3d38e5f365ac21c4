// A plugin that is wrong in the way that the build says (tests/unit/runtime/CMakeLists.txt).
#include "horovod_cpp/ports/plugin.h"

#ifndef TEST_ABI_VERSION
#define TEST_ABI_VERSION hvd::kPluginAbiVersion
#endif
#ifndef TEST_STRUCT_SIZE
#define TEST_STRUCT_SIZE sizeof(hvd::PluginTable)
#endif
#ifndef TEST_VERSION
#define TEST_VERSION HVD_VERSION
#endif
#ifndef TEST_TABLE
#define TEST_TABLE &kTable
#endif
#ifndef TEST_ENTRY
#define TEST_ENTRY hvd_plugin_entry
#endif
#ifndef TEST_PROBE
#define TEST_PROBE &probe
#endif

namespace {

[[maybe_unused]] hvd::Status probe(std::string* details) noexcept {
  *details = "a plugin for tests";
  return {};
}

[[maybe_unused]] constexpr hvd::PluginTable kTable{.abi_version = TEST_ABI_VERSION,
                                                   .struct_size = TEST_STRUCT_SIZE,
                                                   .name = "test",
                                                   .version = TEST_VERSION,
                                                   .probe = TEST_PROBE};

}  // namespace

extern "C" __attribute__((visibility("default"))) const hvd::PluginTable* TEST_ENTRY() { return TEST_TABLE; }
