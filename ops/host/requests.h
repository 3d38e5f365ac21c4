// What every implementation of Collectives on host memory does alike with a request.
#pragma once

#include <string>

#include "horovod_cpp/ports/collectives.h"
#include "horovod_cpp/ports/packing.h"
#include "ops/host/reduce.h"

namespace hvd {

// Whether the kernels of reduce.h and plain copies can do it.
bool host_supports(OpKind kind, ReduceOp op);

// ok, or why the request is none (an operation that is not reducible, a root that does not exist).
Status check(const AllreduceRequest& request);
Status check(const BroadcastRequest& request, int size);

// For messages: "shm allreduce (sum) of 3 float32 tensors, 4096 bytes".
std::string describe(const char* backend, const AllreduceRequest& request);
std::string describe(const char* backend, const BroadcastRequest& request);

// The whole operation where there is one rank only.
void allreduce_alone(const ReduceKernels& kernels, const AllreduceRequest& request);
// On the root: outputs become the inputs where they are not the same memory.
void copy_inputs_to_outputs(std::span<const TensorSlice> slices, DataType dtype);

// Reduces `range` of the array into the outputs. packed[r] holds rank r's bytes of that range, one after the
// other; where it is nullptr, the inputs of the array are rank r's. second_output (may be nullptr) receives
// the result's bytes too.
void reduce_range(const ReduceKernels& kernels, const AllreduceRequest& request, const PackedArray& array,
                  ByteRange range, std::span<const std::byte* const> packed, std::byte* second_output);

}  // namespace hvd
