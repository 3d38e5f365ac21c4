#include "ops/host/requests.h"

#include <cstring>
#include <vector>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

std::string describe_slices(std::span<const TensorSlice> slices, DataType dtype) {
  std::size_t count = 0;
  for (const TensorSlice& slice : slices) count += slice.count;
  return text(slices.size(), " ", name_of(dtype), slices.size() == 1 ? " tensor, " : " tensors, ",
              count * size_in_bytes(dtype), " bytes");
}

}  // namespace

bool host_supports(OpKind kind, ReduceOp op) {
  switch (kind) {
    case OpKind::allreduce:
      return is_reducible(op);
    case OpKind::broadcast:
    case OpKind::barrier:
      return true;
    default:
      return false;
  }
}

Status check(const AllreduceRequest& request) {
  if (is_reducible(request.op)) return {};
  return Status::invalid_argument(text("allreduce on host memory: expected sum, min, max or product, got ",
                                       name_of(request.op), "; average is a sum with a scale"));
}

Status check(const BroadcastRequest& request, int size) {
  if (request.root >= 0 && request.root < size) return {};
  return Status::invalid_argument(
      text("broadcast on host memory: expected a root in [0, ", size, "), got ", request.root));
}

std::string describe(const char* backend, const AllreduceRequest& request) {
  return text(backend, " allreduce (", name_of(request.op), ") of ",
              describe_slices(request.slices, request.dtype));
}

std::string describe(const char* backend, const BroadcastRequest& request) {
  return text(backend, " broadcast from rank ", request.root, " of ",
              describe_slices(request.slices, request.dtype));
}

void allreduce_alone(const ReduceKernels& kernels, const AllreduceRequest& request) {
  const bool changes = request.scale != 1.0 || request.dtype == DataType::boolean;
  for (const TensorSlice& slice : request.slices) {
    if (slice.input == slice.output && !changes) continue;
    const std::byte* const input = static_cast<const std::byte*>(slice.input);
    reduce(kernels, {{&input, 1},
                     static_cast<std::byte*>(slice.output),
                     nullptr,
                     slice.count,
                     request.dtype,
                     request.op,
                     request.scale});
  }
}

void copy_inputs_to_outputs(std::span<const TensorSlice> slices, DataType dtype) {
  for (const TensorSlice& slice : slices) {
    if (slice.input == slice.output || slice.count == 0) continue;
    std::memcpy(slice.output, slice.input, slice.count * size_in_bytes(dtype));
  }
}

void reduce_range(const ReduceKernels& kernels, const AllreduceRequest& request, const PackedArray& array,
                  ByteRange range, std::span<const std::byte* const> packed, std::byte* second_output) {
  const std::size_t element_bytes = size_in_bytes(request.dtype);
  std::vector<const std::byte*> inputs(packed.size());
  array.for_each_piece(range, [&](const Piece& piece) {
    const std::size_t offset = piece.range.begin - range.begin;
    for (std::size_t rank = 0; rank < packed.size(); ++rank) {
      inputs[rank] = packed[rank] == nullptr ? piece.input : packed[rank] + offset;
    }
    reduce(kernels, {inputs, piece.output, second_output == nullptr ? nullptr : second_output + offset,
                     piece.range.size() / element_bytes, request.dtype, request.op, request.scale});
  });
}

}  // namespace hvd
