#include "horovod_cpp/coordinator/backend_call.h"

#include <deque>
#include <exception>
#include <numeric>
#include <stdexcept>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/process_sets.h"

namespace hvd {
namespace {

// Memory that stands in for a user's, zeroed; lives as long as the call.
class Scratch {
 public:
  std::byte* allocate(std::size_t bytes) { return blocks_.emplace_back(bytes).data(); }

 private:
  std::deque<std::vector<std::byte>> blocks_;
};

std::size_t count_of(const Declaration& declaration) {
  return static_cast<std::size_t>(element_count(declaration.shape));
}

std::size_t total(std::span<const std::size_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), std::size_t{0});
}

std::vector<std::size_t> elements_of(std::span<const std::int64_t> rows, std::size_t row_elements) {
  std::vector<std::size_t> out;
  for (const std::int64_t count : rows) out.push_back(static_cast<std::size_t>(count) * row_elements);
  return out;
}

std::vector<TensorSlice> slices_of(std::span<const BackendOperand> operands, Scratch& scratch) {
  std::vector<TensorSlice> slices;
  slices.reserve(operands.size());
  for (const auto& [agreement, submission] : operands) {
    const Declaration& declaration = *agreement->declaration;
    const std::size_t count = count_of(declaration);
    if (submission != nullptr) {
      slices.push_back({submission->input, submission->output, count, submission->ready.get()});
    } else {
      std::byte* zeros = scratch.allocate(count * size_in_bytes(declaration.dtype));
      slices.push_back({zeros, zeros, count, nullptr});
    }
  }
  return slices;
}

// Where the result goes: to what the submission allocates, or nowhere if that fails (the other ranks have to go on). Throws if there is no
// memory at all.
void* place_result(const BackendOperand& operand, std::span<const std::int64_t> rows, std::size_t bytes,
                   Scratch& scratch, Status& status) {
  if (operand.submission != nullptr && operand.submission->allocate) {
    try {
      if (void* memory = operand.submission->allocate(rows); memory != nullptr || bytes == 0) return memory;
      status = Status::internal("got no memory");
    } catch (const std::exception& error) {
      status = Status::internal(error.what());
    }
    status = status.with_prefix(
        text(describe(*operand.agreement->declaration), ": memory for the result, ", bytes, " bytes: "));
  } else if (operand.submission != nullptr) {
    return operand.submission->output;
  }
  try {
    return scratch.allocate(bytes);
  } catch (const std::exception&) {
    throw std::runtime_error(text(describe(*operand.agreement->declaration), ": its result of ", bytes,
                                  " bytes does not fit into this rank's memory, and the other ranks cannot "
                                  "go on without it: take fewer rows at a time"));
  }
}

const void* input_of(const BackendOperand& operand, std::size_t bytes, Scratch& scratch) {
  return operand.submission != nullptr ? operand.submission->input : scratch.allocate(bytes);
}

const Event* ready_of(const BackendOperand& operand) {
  return operand.submission != nullptr ? operand.submission->ready.get() : nullptr;
}

Result<BackendOutcome> allgather(Collectives& backend, const BackendOperand& operand, int position,
                                 Scratch& scratch) {
  const Declaration& d = *operand.agreement->declaration;
  BackendOutcome outcome;
  for (const Extents& extents : operand.agreement->extents) outcome.result.push_back(extents.front());
  const auto counts = elements_of(outcome.result, count_of(d));
  const std::size_t element = size_in_bytes(d.dtype);
  AllgatherRequest request;
  request.input = input_of(operand, counts[static_cast<std::size_t>(position)] * element, scratch);
  request.output = place_result(operand, outcome.result, total(counts) * element, scratch, outcome.status);
  request.counts = counts;
  request.dtype = d.dtype;
  request.ready = ready_of(operand);
  auto completion = backend.allgather(request);
  HVD_RETURN_IF_ERROR(completion.status());
  outcome.completion = std::move(completion).value();
  return outcome;
}

Result<BackendOutcome> alltoall(Collectives& backend, const BackendOperand& operand, int position,
                                Scratch& scratch) {
  const Declaration& d = *operand.agreement->declaration;
  const auto self = static_cast<std::size_t>(position);
  BackendOutcome outcome;
  for (const Extents& splits : operand.agreement->extents) outcome.result.push_back(splits[self]);
  const auto send = elements_of(operand.agreement->extents[self], count_of(d));
  const auto receive = elements_of(outcome.result, count_of(d));
  const std::size_t element = size_in_bytes(d.dtype);
  AlltoallRequest request;
  request.input = input_of(operand, total(send) * element, scratch);
  request.output = place_result(operand, outcome.result, total(receive) * element, scratch, outcome.status);
  request.send_counts = send;
  request.receive_counts = receive;
  request.dtype = d.dtype;
  request.ready = ready_of(operand);
  auto completion = backend.alltoall(request);
  HVD_RETURN_IF_ERROR(completion.status());
  outcome.completion = std::move(completion).value();
  return outcome;
}

Result<BackendOutcome> reducescatter(Collectives& backend, const BackendOperand& operand,
                                     std::span<const int> members, int position, Scratch& scratch) {
  const Declaration& d = *operand.agreement->declaration;
  const EffectiveReduction reduction = effective_reduction(d, static_cast<int>(members.size()));
  const auto row = static_cast<std::size_t>(element_count(Shape(d.shape.begin() + 1, d.shape.end())));
  const auto counts = elements_of(reducescatter_rows(d.shape.front(), members.size()), row);
  const std::size_t element = size_in_bytes(d.dtype);
  BackendOutcome outcome;
  ReducescatterRequest request;
  request.input = input_of(operand, total(counts) * element, scratch);
  request.output = place_result(operand, {}, counts[static_cast<std::size_t>(position)] * element, scratch,
                                outcome.status);
  request.counts = counts;
  request.dtype = d.dtype;
  request.op = reduction.op;
  request.scale = reduction.scale;
  request.ready = ready_of(operand);
  auto completion = backend.reducescatter(request);
  HVD_RETURN_IF_ERROR(completion.status());
  outcome.completion = std::move(completion).value();
  return outcome;
}

Result<BackendOutcome> share_memory(Collectives& backend, const BackendOperand& operand) {
  const Declaration& d = *operand.agreement->declaration;
  BackendOutcome outcome;
  auto memory = backend.share_memory(static_cast<std::size_t>(d.shape.front()), Deadline::never());
  if (memory.is_ok()) {
    operand.submission->take_memory(std::move(memory).value());
  } else if (memory.status().code() == StatusCode::unavailable) {
    outcome.status = memory.status().with_prefix(text(describe(d), ": "));
  } else {
    return memory.status();
  }
  return outcome;
}

}  // namespace

Result<BackendOutcome> call_backend(Collectives& backend, std::span<const BackendOperand> operands,
                                    std::span<const int> members, int position) {
  const Declaration& d = *operands.front().agreement->declaration;
  Scratch scratch;
  Result<Completion> completion = Completion{};
  switch (d.kind) {
    case OpKind::allreduce: {
      const EffectiveReduction reduction = effective_reduction(d, static_cast<int>(members.size()));
      const auto slices = slices_of(operands, scratch);
      completion = backend.allreduce({slices, d.dtype, reduction.op, reduction.scale, Deadline::never()});
      break;
    }
    case OpKind::broadcast: {
      const auto slices = slices_of(operands, scratch);
      completion = backend.broadcast({slices, d.dtype, position_in(members, d.root), Deadline::never()});
      break;
    }
    case OpKind::allgather:
      return allgather(backend, operands.front(), position, scratch);
    case OpKind::alltoall:
      return alltoall(backend, operands.front(), position, scratch);
    case OpKind::reducescatter:
      return reducescatter(backend, operands.front(), members, position, scratch);
    case OpKind::share_memory:
      return share_memory(backend, operands.front());
    default:
      return Status::internal(text(describe(d), ": no operation of a backend"));
  }
  HVD_RETURN_IF_ERROR(completion.status());
  return BackendOutcome{std::move(completion).value(), {}, {}};
}

}  // namespace hvd
