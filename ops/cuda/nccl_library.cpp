#include "ops/cuda/nccl_library.h"

#include <cstdlib>

#include "horovod_cpp/base/text.h"
#include "ops/cuda/runtime_library.h"

namespace hvd {
namespace {

constexpr const char* kSoname = "libnccl.so.2";

// Conda's PyTorch carries NCCL inside of libtorch_cuda, some programs inside of themselves.
Result<RuntimeLibrary> find_in_process() {
  auto library = RuntimeLibrary::already_loaded(kSoname);
  if (library.is_ok()) return library;
  if (RuntimeLibrary::whole_program().find("ncclGetVersion") != nullptr)
    return RuntimeLibrary::whole_program();
  library = RuntimeLibrary::already_loaded("libtorch_cuda.so");
  if (library.is_ok() && library->find("ncclGetVersion") != nullptr) return library;
  return Status::unavailable("no NCCL in this process");
}

Result<RuntimeLibrary> find_anywhere() {
  auto library = find_in_process();
  if (library.is_ok()) return library;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing of ours writes the environment.
  const char* const path = std::getenv("HVD_NCCL_LIBRARY");
  if (path != nullptr && *path != '\0') {
    library = RuntimeLibrary::load(path);
    return library.is_ok() ? library : library.status().with_prefix(text("HVD_NCCL_LIBRARY=", path, ": "));
  }
  library = RuntimeLibrary::load(kSoname);
  if (library.is_ok()) return library;
  return Status::unavailable(
      text("no NCCL: ", library.status().message(),
           "; pip install nvidia-nccl-cu13 (or your system's libnccl2) and set HVD_NCCL_LIBRARY to "
           "its libnccl.so.2, or load PyTorch's CUDA build first"));
}

}  // namespace

Result<std::shared_ptr<const NcclLibrary>> NcclLibrary::load() {
  const auto library = find_anywhere();
  if (!library.is_ok()) return library.status();
  auto nccl = std::make_shared<NcclLibrary>();
  FunctionLookup lookup(library.value());
#define HVD_LOOK_UP(function) lookup.need(nccl->function, HVD_LINKED_NAME(function));
  HVD_NCCL_FUNCTIONS(HVD_LOOK_UP)
#undef HVD_LOOK_UP
  if (nccl->ncclGetVersion == nullptr || nccl->ncclGetVersion(&nccl->version) != ncclSuccess) {
    return Status::unavailable("the library found as NCCL does not tell its version");
  }
  nccl->file = file_of_function(reinterpret_cast<const void*>(nccl->ncclGetVersion));
  const std::string found = text("NCCL ", nccl_version_name(nccl->version), " (", nccl->file, ")");
  if (nccl->version < kOldestNccl || nccl->version >= NCCL_VERSION(NCCL_MAJOR + 1, 0, 0)) {
    return Status::unavailable(text(found, " does not fit: expected ", nccl_version_name(kOldestNccl),
                                    " or newer, below ", NCCL_MAJOR + 1,
                                    ".0; install another, or point HVD_NCCL_LIBRARY to one"));
  }
  if (!lookup.missing().empty()) {
    return Status::unavailable(
        text(found, " has no ", lookup.missing().front(), "; it is not a complete NCCL"));
  }
  return std::shared_ptr<const NcclLibrary>(std::move(nccl));
}

std::string NcclLibrary::words_for(ncclResult_t result) const {
  return text(ncclGetErrorString(result), " (NCCL error ", int{result}, ")");
}

std::string nccl_version_name(int version) {
  return text(version / 10000, ".", version / 100 % 100, ".", version % 100);
}

}  // namespace hvd
