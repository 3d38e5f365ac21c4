// libnccl.so.2 for tests: the functions of NCCL that the plugin uses, on the CUDA stand-in. Definitions are
// checked against NVIDIA's declarations. HVD_STANDIN_NCCL_VERSION=21000 makes it call itself that version;
// HVD_STANDIN_NCCL_CALL_MS and HVD_STANDIN_NCCL_ABORT_MS are the time that it takes over a call (2) and
// before an abort takes effect (0).
#include <cstdlib>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "tests/gpu/standin/nccl/communicator.h"

#define STANDIN __attribute__((visibility("default")))

using hvd::standin::Communicator;
using hvd::standin::Kind;
using hvd::standin::Operation;
using hvd::standin::Segment;

struct ncclComm {
  std::shared_ptr<Communicator> body;
};

namespace {

// Operations between ncclGroupStart and ncclGroupEnd, of one thread.
struct Group {
  int depth = 0;
  std::map<ncclComm_t, std::vector<Operation>> operations;
};
thread_local Group group;

ncclResult_t enqueue(ncclComm_t comm, const Operation& operation) {
  if (comm == nullptr || operation.stream == nullptr) return ncclInvalidArgument;
  if (const ncclResult_t result = comm->body->ready(); result != ncclSuccess) return result;
  CUcontext current = nullptr;
  if (cuCtxGetCurrent(&current) != CUDA_SUCCESS || current == nullptr) return ncclUnhandledCudaError;
  if (group.depth == 0) return comm->body->launch({operation});
  group.operations[comm].push_back(operation);
  return ncclSuccess;
}

// Transfers of one group are one operation: they make progress together.
ncclResult_t enqueue_transfer(ncclComm_t comm, hvd::standin::Transfer transfer, ncclDataType_t type,
                              cudaStream_t stream) {
  if (comm == nullptr || transfer.peer < 0 || transfer.peer >= comm->body->size()) return ncclInvalidArgument;
  transfer.bytes *= hvd::standin::element_bytes(type);
  if (group.depth > 0) {
    auto& operations = group.operations[comm];
    if (!operations.empty() && operations.back().kind == Kind::transfers) {
      for (const auto& other : operations.back().transfers) {
        // Several to the same peer are not stood in for.
        if (other.peer == transfer.peer && other.is_send == transfer.is_send) return ncclInvalidUsage;
      }
      operations.back().transfers.push_back(transfer);
      return ncclSuccess;
    }
  }
  Operation operation;
  operation.kind = Kind::transfers;
  operation.stream = stream;
  operation.transfers.push_back(transfer);
  return enqueue(comm, operation);
}

}  // namespace

extern "C" {

STANDIN ncclResult_t ncclGetVersion(int* version) {
  const char* const pretended = std::getenv("HVD_STANDIN_NCCL_VERSION");
  *version = pretended == nullptr ? NCCL_VERSION_CODE : std::atoi(pretended);
  return ncclSuccess;
}

STANDIN const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclUnhandledCudaError:
      return "unhandled cuda error";
    default:
      return "error of the stand-in";
  }
}

STANDIN const char* ncclGetLastError(ncclComm_t) { return "said by the stand-in"; }

STANDIN ncclResult_t ncclGetUniqueId(ncclUniqueId* id) { return Segment::make_id(*id); }

STANDIN ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int size, ncclUniqueId id, int rank,
                                            ncclConfig_t* config) {
  if (config->magic != NCCL_API_MAGIC || config->size != sizeof(ncclConfig_t)) return ncclInvalidArgument;
  if (size < 1 || size > hvd::standin::kMostRanks || rank < 0 || rank >= size) return ncclInvalidArgument;
  CUcontext current = nullptr;
  if (cuCtxGetCurrent(&current) != CUDA_SUCCESS || current == nullptr) return ncclUnhandledCudaError;
  *comm = new ncclComm{std::make_shared<Communicator>(config->blocking != 0)};
  return (*comm)->body->connect(id, rank, size);
}

STANDIN ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  if (comm == nullptr) return ncclInvalidArgument;
  *error = comm->body->state();
  return ncclSuccess;
}

STANDIN ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  if (comm == nullptr) return ncclInvalidArgument;
  if (const ncclResult_t result = comm->body->ready(); result != ncclSuccess) return result;
  return comm->body->finalize();
}

STANDIN ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  if (comm == nullptr) return ncclInvalidArgument;
  if (const ncclResult_t result = comm->body->ready(); result != ncclSuccess) return result;
  comm->body->join();
  delete comm;
  return ncclSuccess;
}

STANDIN ncclResult_t ncclCommAbort(ncclComm_t comm) {
  if (comm == nullptr) return ncclInvalidArgument;
  comm->body->abort();
  delete comm;
  return ncclSuccess;
}

STANDIN ncclResult_t ncclGroupStart() {
  ++group.depth;
  return ncclSuccess;
}

STANDIN ncclResult_t ncclGroupEnd() {
  if (group.depth == 0) return ncclInvalidUsage;
  if (--group.depth > 0) return ncclSuccess;
  ncclResult_t worst = ncclSuccess;
  const auto operations = std::exchange(group.operations, {});
  for (const auto& [comm, of_comm] : operations) {
    const ncclResult_t result = comm->body->launch(of_comm);
    if (result != ncclSuccess) worst = result;
  }
  return worst;
}

STANDIN ncclResult_t ncclRedOpCreatePreMulSum(ncclRedOp_t* op, void* scalar, ncclDataType_t type,
                                              ncclScalarResidence_t residence, ncclComm_t comm) {
  if (comm == nullptr || residence != ncclScalarHostImmediate) return ncclInvalidArgument;
  if (const ncclResult_t result = comm->body->ready(); result != ncclSuccess) return result;
  return comm->body->add_scaled_sum(type, hvd::standin::read_element(type, scalar), *op);
}

STANDIN ncclResult_t ncclRedOpDestroy(ncclRedOp_t op, ncclComm_t comm) {
  if (comm == nullptr) return ncclInvalidArgument;
  return comm->body->remove_scaled_sum(op);
}

STANDIN ncclResult_t ncclAllReduce(const void* input, void* output, size_t count, ncclDataType_t type,
                                   ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  if (comm == nullptr) return ncclInvalidArgument;
  Operation operation;
  if (const ncclResult_t result = comm->body->resolve(op, type, operation.reduction); result != ncclSuccess)
    return result;
  operation.type = type;
  operation.input = static_cast<const std::byte*>(input);
  operation.output = static_cast<std::byte*>(output);
  operation.count = count;
  operation.stream = stream;
  return enqueue(comm, operation);
}

STANDIN ncclResult_t ncclBroadcast(const void* input, void* output, size_t count, ncclDataType_t type,
                                   int root, ncclComm_t comm, cudaStream_t stream) {
  if (comm == nullptr || root < 0 || root >= comm->body->size()) return ncclInvalidArgument;
  Operation operation;
  operation.kind = Kind::broadcast;
  operation.root = root;
  operation.type = type;
  operation.input = static_cast<const std::byte*>(input);
  operation.output = static_cast<std::byte*>(output);
  operation.count = count;
  operation.stream = stream;
  return enqueue(comm, operation);
}

STANDIN ncclResult_t ncclReduce(const void* input, void* output, size_t count, ncclDataType_t type,
                                ncclRedOp_t op, int root, ncclComm_t comm, cudaStream_t stream) {
  if (comm == nullptr || root < 0 || root >= comm->body->size()) return ncclInvalidArgument;
  Operation operation;
  if (const ncclResult_t result = comm->body->resolve(op, type, operation.reduction); result != ncclSuccess)
    return result;
  operation.kind = Kind::reduce;
  operation.root = root;
  operation.type = type;
  operation.input = static_cast<const std::byte*>(input);
  operation.output = static_cast<std::byte*>(output);
  operation.count = count;
  operation.stream = stream;
  return enqueue(comm, operation);
}

// One broadcast from each rank.
STANDIN ncclResult_t ncclAllGather(const void* input, void* output, size_t count, ncclDataType_t type,
                                   ncclComm_t comm, cudaStream_t stream) {
  if (comm == nullptr) return ncclInvalidArgument;
  ncclResult_t result = ncclGroupStart();
  for (int root = 0; root < comm->body->size() && result == ncclSuccess; ++root) {
    std::byte* const part = static_cast<std::byte*>(output) +
                            static_cast<std::size_t>(root) * count * hvd::standin::element_bytes(type);
    result = ncclBroadcast(input, part, count, type, root, comm, stream);
  }
  const ncclResult_t end = ncclGroupEnd();
  return result == ncclSuccess ? end : result;
}

// One reduction to each rank.
STANDIN ncclResult_t ncclReduceScatter(const void* input, void* output, size_t count, ncclDataType_t type,
                                       ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  if (comm == nullptr) return ncclInvalidArgument;
  ncclResult_t result = ncclGroupStart();
  for (int root = 0; root < comm->body->size() && result == ncclSuccess; ++root) {
    const std::byte* const part = static_cast<const std::byte*>(input) +
                                  static_cast<std::size_t>(root) * count * hvd::standin::element_bytes(type);
    result = ncclReduce(part, output, count, type, op, root, comm, stream);
  }
  const ncclResult_t end = ncclGroupEnd();
  return result == ncclSuccess ? end : result;
}

STANDIN ncclResult_t ncclSend(const void* buffer, size_t count, ncclDataType_t type, int peer,
                              ncclComm_t comm, cudaStream_t stream) {
  return enqueue_transfer(comm, {true, peer, static_cast<std::byte*>(const_cast<void*>(buffer)), count}, type,
                          stream);
}

STANDIN ncclResult_t ncclRecv(void* buffer, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                              cudaStream_t stream) {
  return enqueue_transfer(comm, {false, peer, static_cast<std::byte*>(buffer), count}, type, stream);
}

STANDIN ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* out,
                                   ncclConfig_t* config) {
  if (comm == nullptr || config == nullptr || config->magic != NCCL_API_MAGIC) return ncclInvalidArgument;
  if (const ncclResult_t result = comm->body->ready(); result != ncclSuccess) return result;
  const bool is_member = color != NCCL_SPLIT_NOCOLOR;
  const auto child = is_member ? std::make_shared<Communicator>(config->blocking != 0) : nullptr;
  *out = is_member ? new ncclComm{child} : nullptr;
  return comm->body->split(color, key, child);
}

}  // extern "C"
