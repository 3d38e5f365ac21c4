// The functions of NCCL that we use, found while the program runs: in the copy that is in the process already
// if there is one (two copies of NCCL in one process harm each other), else in HVD_NCCL_LIBRARY, else in
// libnccl.so.2 by the usual search.
//
// All of them are in the oldest NCCL that we take. A newer function goes into a list of its own, with
// FunctionLookup::optional. Fields are called as NVIDIA's header calls the functions, and have their types.
#pragma once

#include <memory>
#include <string>

#include "horovod_cpp/base/status.h"
#include "ops/cuda/nvidia_headers.h"

// clang-format off
#define HVD_NCCL_FUNCTIONS(X)                                                           \
  X(ncclGetVersion) X(ncclGetErrorString)                                               \
  X(ncclGetUniqueId) X(ncclCommInitRankConfig)                                          \
  X(ncclGetLastError) X(ncclCommGetAsyncError)                                          \
  X(ncclCommFinalize) X(ncclCommDestroy) X(ncclCommAbort)                               \
  X(ncclGroupStart) X(ncclGroupEnd) X(ncclAllReduce) X(ncclBroadcast)                   \
  X(ncclAllGather) X(ncclReduce) X(ncclReduceScatter) X(ncclSend) X(ncclRecv)           \
  X(ncclRedOpCreatePreMulSum) X(ncclRedOpDestroy) X(ncclCommSplit)
// clang-format on

namespace hvd {

struct NcclLibrary {
#define HVD_FIELD(function) decltype(&::function) function = nullptr;  // NOLINT(bugprone-macro-parentheses)
  HVD_NCCL_FUNCTIONS(HVD_FIELD)
#undef HVD_FIELD

  int version = 0;   // as ncclGetVersion codes it: 22907
  std::string file;  // where it was found

  // unavailable says what is missing or too old and what to do.
  static Result<std::shared_ptr<const NcclLibrary>> load();

  // "ncclRemoteError (remote process exited or there was a network error; ...)"
  std::string words_for(ncclResult_t result) const;
};

// 22907 → "2.29.7"
std::string nccl_version_name(int version);

// The oldest NCCL whose calls never block when asked not to, and the first with fp8.
inline constexpr int kOldestNccl = NCCL_VERSION(2, 18, 0);
inline constexpr int kFirstNcclWithFloat8 = NCCL_VERSION(2, 24, 0);

}  // namespace hvd
