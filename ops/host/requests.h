// What every implementation of Collectives on host memory does alike with a request.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "horovod_cpp/ports/collectives.h"
#include "horovod_cpp/ports/packing.h"
#include "ops/host/reduce.h"

namespace hvd {

// Whether the kernels of reduce.h and plain copies can do it.
bool host_supports(OpKind kind, ReduceOp op);

// ok, or why the request is none (an operation that is not reducible, a root that does not exist).
Status check(const AllreduceRequest& request);
Status check(const BroadcastRequest& request, int size);
// … counts that are not one a rank, or that disagree about what a rank sends to itself.
Status check(const AllgatherRequest& request, int size);
Status check(const AlltoallRequest& request, int rank, int size);
Status check(const ReducescatterRequest& request, int size);
// The members of a subgroup: ascending ranks in [0, size), at least one.
Status check_members(std::span<const int> members, int size);

// For messages: "shm allreduce (sum) of 3 float32 tensors, 4096 bytes".
std::string describe(const char* backend, const AllreduceRequest& request);
std::string describe(const char* backend, const BroadcastRequest& request);
std::string describe(const char* backend, const AllgatherRequest& request);
std::string describe(const char* backend, const AlltoallRequest& request);
std::string describe(const char* backend, const ReducescatterRequest& request);

// The whole operation where there is one rank only.
void allreduce_alone(const ReduceKernels& kernels, const AllreduceRequest& request);
// On the root: outputs become the inputs where they are not the same memory.
void copy_inputs_to_outputs(std::span<const TensorSlice> slices, DataType dtype);

// Reduces `range` of the array into the outputs. packed[r] holds rank r's bytes of that range, one after the
// other; where it is nullptr, the inputs of the array are rank r's. second_output (may be nullptr) receives
// the result's bytes too.
void reduce_range(const ReduceKernels& kernels, const AllreduceRequest& request, const PackedArray& array,
                  ByteRange range, std::span<const std::byte* const> packed, std::byte* second_output);

// Where each rank's part lies, when parts of these counts lie one after another. Not empty: at least one rank.
std::vector<ByteRange> parts_by_rank(std::span<const std::size_t> counts, DataType dtype);
// The size of the longest of them.
std::size_t longest_of(std::span<const ByteRange> parts);

// What this rank's input holds for itself comes to its place in the output.
void copy_own_part(const AllgatherRequest& request, int rank);
void copy_own_part(const AlltoallRequest& request, int rank);

// This rank's part of a reducescatter, and the allreduce of it. The request refers to `own`.
TensorSlice own_part(const ReducescatterRequest& request, int rank);
AllreduceRequest reduction_of(const ReducescatterRequest& request, const TensorSlice& own);

}  // namespace hvd
