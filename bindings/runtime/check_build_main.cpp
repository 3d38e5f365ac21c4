// hvd_check_build: says what this installation can do, and why it cannot do the rest. `hvdrun --check-build` runs it.
#include <cstdio>
#include <string>

#include "bindings/runtime/plugin_loader.h"

namespace {

struct Line {
  std::string what;
  bool is_there;
  std::string details;  // what was found, or why it is not there
};

// One for a plugin: found, loadable, and its vendor library usable.
Line check_plugin(const std::string& what, const std::string& name) {
  const auto plugin = hvd::load_plugin(name);
  if (!plugin.is_ok()) return {what, false, plugin.status().message()};
  std::string details;
  const hvd::Status status = plugin.value()->probe(&details);
  return {what, status.is_ok(), status.is_ok() ? details : status.message()};
}

void print(const char* title, const std::vector<Line>& lines) {
  std::printf("%s:\n", title);
  for (const Line& line : lines) {
    std::printf("  [%s] %s%s%s\n", line.is_there ? "X" : " ", line.what.c_str(),
                line.details.empty() ? "" : ": ", line.details.c_str());
  }
}

}  // namespace

int main() {
  std::printf("horovod_cpp %s\n\n", HVD_VERSION);
  // Installed as sources (bindings/torch/package.cmake): whether LibTorch is there shows when the program is built.
  print("Frameworks", {{"LibTorch", true, "the one that your program is built with"}});
  const Line mpi = check_plugin("MPI", "mpi");
  const Line nccl = check_plugin("NCCL", "cuda");
  print("\nNegotiation", {{"shared memory", true, ""}, {"TCP", true, ""}, mpi});
  print("\nTensor operations", {{"shared memory", true, ""}, {"ring over TCP", true, ""}, mpi, nccl});
  return 0;
}
