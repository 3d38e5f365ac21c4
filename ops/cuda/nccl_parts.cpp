// The operations of NcclCollectives where each rank has a part of its own, and its subgroups.
#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "horovod_cpp/base/text.h"
#include "ops/cuda/nccl_collectives.h"

namespace hvd {
namespace {

using Counts = std::span<const std::size_t>;

bool are_equal(Counts counts) {
  return std::adjacent_find(counts.begin(), counts.end(), std::not_equal_to<>()) == counts.end();
}
bool are_all_zero(Counts counts) {
  return std::all_of(counts.begin(), counts.end(), [](std::size_t count) { return count == 0; });
}

// call(rank, count, bytes before its part) for parts that are not empty, until one fails.
template <class Call>
ncclResult_t for_each_part(Counts counts, std::size_t element_bytes, const Call& call) {
  std::size_t offset = 0;
  for (std::size_t rank = 0; rank < counts.size(); ++rank) {
    const std::size_t count = counts[rank];
    if (count > 0) {
      const ncclResult_t result = call(static_cast<int>(rank), count, offset);
      if (result != ncclSuccess && result != ncclInProgress) return result;
    }
    offset += count * element_bytes;
  }
  return ncclSuccess;
}

}  // namespace

Status NcclCollectives::check_counts(const char* operation, std::size_t got) const {
  if (got == static_cast<std::size_t>(communicator_->size())) return {};
  return Status::invalid_argument(text("nccl ", operation, ": expected one count for each of ",
                                       communicator_->size(), " ranks, got ", got));
}

Result<Completion> NcclCollectives::allgather(const AllgatherRequest& request) {
  HVD_RETURN_IF_ERROR(communicator_->check());
  HVD_RETURN_IF_ERROR(check_counts("allgather", request.counts.size()));
  HVD_RETURN_IF_ERROR(wait_for_input("allgather", request.ready));
  if (are_all_zero(request.counts)) return Completion();
  const NcclLibrary& nccl = communicator_->nccl();
  const NcclMoveType move = nccl_move_type(request.dtype);
  auto* const output = static_cast<std::byte*>(request.output);
  HVD_RETURN_IF_ERROR(communicator_->submit_group("allgather", request.deadline, [&](ncclComm_t comm) {
    if (are_equal(request.counts)) {
      return nccl.ncclAllGather(request.input, output, request.counts.front() * move.elements, move.type,
                                comm, stream());
    }
    return for_each_part(
        request.counts, size_in_bytes(request.dtype), [&](int root, std::size_t count, std::size_t offset) {
          const void* const from = root == communicator_->rank() ? request.input : output + offset;
          return nccl.ncclBroadcast(from, output + offset, count * move.elements, move.type, root, comm,
                                    stream());
        });
  }));
  return finish("allgather");
}

Result<Completion> NcclCollectives::alltoall(const AlltoallRequest& request) {
  HVD_RETURN_IF_ERROR(communicator_->check());
  HVD_RETURN_IF_ERROR(check_counts("alltoall", request.send_counts.size()));
  HVD_RETURN_IF_ERROR(check_counts("alltoall", request.receive_counts.size()));
  HVD_RETURN_IF_ERROR(wait_for_input("alltoall", request.ready));
  // Of concern to this rank only: NCCL waits for those who send to each other.
  if (are_all_zero(request.send_counts) && are_all_zero(request.receive_counts)) return Completion();
  const NcclLibrary& nccl = communicator_->nccl();
  const NcclMoveType move = nccl_move_type(request.dtype);
  const std::size_t width = size_in_bytes(request.dtype);
  HVD_RETURN_IF_ERROR(communicator_->submit_group("alltoall", request.deadline, [&](ncclComm_t comm) {
    const ncclResult_t sent =
        for_each_part(request.send_counts, width, [&](int peer, std::size_t count, std::size_t offset) {
          return nccl.ncclSend(static_cast<const std::byte*>(request.input) + offset, count * move.elements,
                               move.type, peer, comm, stream());
        });
    if (sent != ncclSuccess) return sent;
    return for_each_part(request.receive_counts, width, [&](int peer, std::size_t count, std::size_t offset) {
      return nccl.ncclRecv(static_cast<std::byte*>(request.output) + offset, count * move.elements, move.type,
                           peer, comm, stream());
    });
  }));
  return finish("alltoall");
}

Result<Completion> NcclCollectives::reducescatter(const ReducescatterRequest& request) {
  HVD_RETURN_IF_ERROR(communicator_->check());
  const auto reduction = plan("reducescatter", request.dtype, request.op, request.scale);
  if (!reduction.is_ok()) return reduction.status();
  HVD_RETURN_IF_ERROR(check_counts("reducescatter", request.counts.size()));
  HVD_RETURN_IF_ERROR(wait_for_input("reducescatter", request.ready));
  if (are_all_zero(request.counts)) return Completion();
  const NcclLibrary& nccl = communicator_->nccl();
  const ncclDataType_t type = reduction.value().type;
  HVD_RETURN_IF_ERROR(submit_reduction(
      "reducescatter", reduction.value(), request.deadline, [&](ncclRedOp_t op, ncclComm_t comm) {
        if (are_equal(request.counts)) {
          return nccl.ncclReduceScatter(request.input, request.output, request.counts.front(), type, op, comm,
                                        stream());
        }
        return for_each_part(request.counts, size_in_bytes(request.dtype),
                             [&](int root, std::size_t count, std::size_t offset) {
                               const auto* const from = static_cast<const std::byte*>(request.input) + offset;
                               return nccl.ncclReduce(from, request.output, count, type, op, root, comm,
                                                      stream());
                             });
      }));
  return finish("reducescatter");
}

Result<std::unique_ptr<Collectives>> NcclCollectives::subgroup(std::span<const int> members,
                                                               Deadline deadline) {
  const bool are_ascending =
      std::adjacent_find(members.begin(), members.end(), std::greater_equal<>()) == members.end();
  if (members.empty() || !are_ascending || members.front() < 0 || members.back() >= communicator_->size()) {
    return Status::invalid_argument(text("rank ", communicator_->rank(),
                                         ": subgroup: expected one or more ascending ranks in [0, ",
                                         communicator_->size(), ")"));
  }
  // NCCL splits a communicator only while nothing runs on it, on any rank.
  HVD_RETURN_IF_ERROR(barrier(deadline));
  auto communicator = communicator_->split(members, deadline);
  HVD_RETURN_IF_ERROR(communicator.status());
  if (communicator.value() == nullptr) return std::unique_ptr<Collectives>();
  std::unique_ptr<NcclCollectives> out(
      new NcclCollectives(ability_, device_, std::move(communicator).value()));
  out->stream_ = stream_;
  HVD_RETURN_IF_ERROR(out->communicator_->latch("subgroup", out->create_barrier_word()));
  return std::unique_ptr<Collectives>(std::move(out));
}

}  // namespace hvd
