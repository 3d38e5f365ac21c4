#include "ops/host/requests.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <vector>

#include "horovod_cpp/base/rank_list.h"
#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

std::string describe_slices(std::span<const TensorSlice> slices, DataType dtype) {
  std::size_t count = 0;
  for (const TensorSlice& slice : slices) count += slice.count;
  return text(slices.size(), " ", name_of(dtype), slices.size() == 1 ? " tensor, " : " tensors, ",
              count * size_in_bytes(dtype), " bytes");
}

std::size_t sum_of(std::span<const std::size_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), std::size_t{0});
}

std::string describe_parts(std::span<const std::size_t> counts, DataType dtype) {
  const std::size_t count = sum_of(counts);
  return text(count, " ", name_of(dtype), " elements, ", count * size_in_bytes(dtype), " bytes");
}

Status check_counts(const char* operation, const char* counts, std::size_t got, int size) {
  if (got == static_cast<std::size_t>(size)) return {};
  return Status::invalid_argument(text(operation, " on host memory: expected one of ", counts,
                                       " for each of ", size, " ranks, got ", got));
}

Status check_op(const char* operation, ReduceOp op) {
  if (is_reducible(op)) return {};
  return Status::invalid_argument(text(operation, " on host memory: expected sum, min, max or product, got ",
                                       name_of(op), "; average is a sum with a scale"));
}

void copy_part(const void* input, std::size_t input_at, void* output, ByteRange to) {
  const std::byte* const from = static_cast<const std::byte*>(input) + input_at;
  std::byte* const place = static_cast<std::byte*>(output) + to.begin;
  if (from != place && !to.empty()) std::memcpy(place, from, to.size());
}

}  // namespace

bool host_supports(OpKind kind, ReduceOp op) {
  switch (kind) {
    case OpKind::allreduce:
    case OpKind::reducescatter:
      return is_reducible(op);
    case OpKind::broadcast:
    case OpKind::allgather:
    case OpKind::alltoall:
    case OpKind::barrier:
      return true;
    default:
      return false;
  }
}

Status check(const AllreduceRequest& request) { return check_op("allreduce", request.op); }

Status check(const BroadcastRequest& request, int size) {
  if (request.root >= 0 && request.root < size) return {};
  return Status::invalid_argument(
      text("broadcast on host memory: expected a root in [0, ", size, "), got ", request.root));
}

Status check(const AllgatherRequest& request, int size) {
  return check_counts("allgather", "counts", request.counts.size(), size);
}

Status check(const AlltoallRequest& request, int rank, int size) {
  HVD_RETURN_IF_ERROR(check_counts("alltoall", "send_counts", request.send_counts.size(), size));
  HVD_RETURN_IF_ERROR(check_counts("alltoall", "receive_counts", request.receive_counts.size(), size));
  const auto own = static_cast<std::size_t>(rank);
  if (request.send_counts[own] == request.receive_counts[own]) return {};
  return Status::invalid_argument(text("alltoall on host memory: rank ", rank, " sends ",
                                       request.send_counts[own], " elements to itself, but expects ",
                                       request.receive_counts[own]));
}

Status check(const ReducescatterRequest& request, int size) {
  HVD_RETURN_IF_ERROR(check_op("reducescatter", request.op));
  return check_counts("reducescatter", "counts", request.counts.size(), size);
}

Status check_members(std::span<const int> members, int size) {
  const bool are_ascending =
      std::adjacent_find(members.begin(), members.end(), std::greater_equal<>()) == members.end();
  if (!members.empty() && are_ascending && members.front() >= 0 && members.back() < size) return {};
  return Status::invalid_argument(text("subgroup: expected one or more ascending ranks in [0, ", size,
                                       "), got ", members.empty() ? "none" : name_of_ranks(members)));
}

std::string describe(const char* backend, const AllreduceRequest& request) {
  return text(backend, " allreduce (", name_of(request.op), ") of ",
              describe_slices(request.slices, request.dtype));
}

std::string describe(const char* backend, const BroadcastRequest& request) {
  return text(backend, " broadcast from rank ", request.root, " of ",
              describe_slices(request.slices, request.dtype));
}

std::string describe(const char* backend, const AllgatherRequest& request) {
  return text(backend, " allgather of ", describe_parts(request.counts, request.dtype));
}

std::string describe(const char* backend, const AlltoallRequest& request) {
  return text(backend, " alltoall, sending ", describe_parts(request.send_counts, request.dtype),
              ", receiving ", sum_of(request.receive_counts) * size_in_bytes(request.dtype));
}

std::string describe(const char* backend, const ReducescatterRequest& request) {
  return text(backend, " reducescatter (", name_of(request.op), ") of ",
              describe_parts(request.counts, request.dtype));
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

std::vector<ByteRange> parts_by_rank(std::span<const std::size_t> counts, DataType dtype) {
  std::vector<ByteRange> parts;
  parts.reserve(counts.size());
  std::size_t end = 0;
  for (const std::size_t count : counts) {
    const std::size_t begin = end;
    end += count * size_in_bytes(dtype);
    parts.push_back({begin, end});
  }
  return parts;
}

std::size_t longest_of(std::span<const ByteRange> parts) {
  std::size_t longest = 0;
  for (const ByteRange& part : parts) longest = std::max(longest, part.size());
  return longest;
}

void copy_own_part(const AllgatherRequest& request, int rank) {
  const auto own = static_cast<std::size_t>(rank);
  copy_part(request.input, 0, request.output, parts_by_rank(request.counts, request.dtype)[own]);
}

void copy_own_part(const AlltoallRequest& request, int rank) {
  const auto own = static_cast<std::size_t>(rank);
  copy_part(request.input, parts_by_rank(request.send_counts, request.dtype)[own].begin, request.output,
            parts_by_rank(request.receive_counts, request.dtype)[own]);
}

TensorSlice own_part(const ReducescatterRequest& request, int rank) {
  const auto own = static_cast<std::size_t>(rank);
  const std::size_t begin = parts_by_rank(request.counts, request.dtype)[own].begin;
  return {static_cast<const std::byte*>(request.input) + begin, request.output, request.counts[own], nullptr};
}

AllreduceRequest reduction_of(const ReducescatterRequest& request, const TensorSlice& own) {
  return {{&own, 1}, request.dtype, request.op, request.scale, request.deadline};
}

}  // namespace hvd
