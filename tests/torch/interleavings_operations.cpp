#include "tests/torch/interleavings_operations.h"

#include <ATen/ATen.h>

#include <stdexcept>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

using Kind = AdHoc::Kind;
constexpr int kGroupSize = 3;

const std::vector<int>& members_of(const AdHoc& what) {
  return sets_of_ranks()[static_cast<std::size_t>(what.set)];
}

at::ScalarType torch_type(DataType dtype) {
  switch (dtype) {
    case DataType::uint8:
      return at::kByte;
    case DataType::int8:
      return at::kChar;
    case DataType::int32:
      return at::kInt;
    case DataType::int64:
      return at::kLong;
    case DataType::float16:
      return at::kHalf;
    case DataType::bfloat16:
      return at::kBFloat16;
    case DataType::float32:
      return at::kFloat;
    case DataType::float64:
      return at::kDouble;
    case DataType::boolean:
      return at::kBool;
    default:
      throw std::logic_error(text("no plan has ", name_of(dtype)));
  }
}

// Whole numbers that every type holds exactly, and whose reductions it holds too.
at::Tensor numbers_of(const AdHoc& what, int rank, std::int64_t rows) {
  const at::Tensor places = at::arange(rows * what.width, at::kLong).view({rows, what.width});
  at::Tensor values = (places * (5 + 2 * (what.salt % 3)) + what.salt / 3 + 3 * rank).remainder(8);
  if (what.dtype == DataType::boolean) return values.remainder(2);
  if (what.op == ReduceOp::product) return values.remainder(2) + 1;
  if (what.op == ReduceOp::average) return values * static_cast<std::int64_t>(members_of(what).size());
  return values;
}

std::int64_t gathered_rows(const AdHoc& what, int rank) { return (what.salt + 7 * rank) % (what.rows + 1); }
std::int64_t rows_to(const AdHoc& what, int from, int to) {
  return (what.salt + 5 * from + 3 * to) % (1 + (what.rows + 3) / 4);
}

std::vector<std::int64_t> splits_of(const AdHoc& what, int from) {
  std::vector<std::int64_t> out;
  for (const int to : members_of(what)) out.push_back(rows_to(what, from, to));
  return out;
}

std::int64_t sum_of(const std::vector<std::int64_t>& values) {
  std::int64_t sum = 0;
  for (const std::int64_t value : values) sum += value;
  return sum;
}

at::Tensor input_of(const AdHoc& what, int rank, int part = 0) {
  std::int64_t rows = what.rows + part;
  if (what.kind == Kind::allgather) rows = gathered_rows(what, rank);
  if (what.kind == Kind::alltoall) rows = sum_of(splits_of(what, rank));
  return numbers_of(what, rank, rows).to(torch_type(what.dtype));
}

at::Tensor reduced(const AdHoc& what, int part = 0) {
  std::vector<at::Tensor> all;
  for (const int member : members_of(what)) all.push_back(numbers_of(what, member, what.rows + part));
  const at::Tensor stack = at::stack(all);
  switch (what.op) {
    case ReduceOp::sum:
      return stack.sum(0);
    case ReduceOp::min:
      return stack.amin(0);
    case ReduceOp::max:
      return stack.amax(0);
    case ReduceOp::product:
      return stack.prod(0);
    default:
      return stack.sum(0).div(static_cast<std::int64_t>(all.size()), "floor");
  }
}

at::Tensor share_of(const AdHoc& what, const at::Tensor& whole, int rank) {
  const auto& members = members_of(what);
  const auto size = static_cast<std::int64_t>(members.size());
  std::int64_t first = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    const std::int64_t rows = (whole.size(0) / size) + (i < whole.size(0) % size ? 1 : 0);
    if (members[static_cast<std::size_t>(i)] == rank) return whole.slice(0, first, first + rows);
    first += rows;
  }
  throw std::logic_error(text("rank ", rank, " is not in set ", what.set));
}

at::Tensor received(const AdHoc& what, int rank) {
  std::vector<at::Tensor> parts;
  for (const int from : members_of(what)) {
    std::int64_t first = 0;
    for (const int to : members_of(what)) {
      if (to == rank) break;
      first += rows_to(what, from, to);
    }
    parts.push_back(input_of(what, from).slice(0, first, first + rows_to(what, from, rank)));
  }
  return at::cat(parts);
}

at::Tensor gathered(const AdHoc& what) {
  std::vector<at::Tensor> parts;
  for (const int member : members_of(what)) parts.push_back(input_of(what, member));
  return at::cat(parts);
}

at::Tensor expected_of(const AdHoc& what, int rank, int part) {
  switch (what.kind) {
    case Kind::broadcast:
    case Kind::broadcast_in_place:
      return input_of(what, what.root);
    case Kind::allgather:
      return gathered(what);
    case Kind::alltoall:
      return received(what, rank);
    case Kind::reducescatter:
      return share_of(what, reduced(what), rank);
    default:
      return reduced(what, part);
  }
}

std::vector<std::int64_t> expected_rows(const AdHoc& what, int rank) {
  std::vector<std::int64_t> out;
  for (const int from : members_of(what)) {
    out.push_back(what.kind == Kind::alltoall ? rows_to(what, from, rank) : gathered_rows(what, from));
  }
  return out;
}

[[noreturn]] void fail(const AdHoc& what, const std::string& why) {
  throw std::runtime_error(text("'", what.name, "', operation ", static_cast<int>(what.kind), " (",
                                name_of(what.op), ", ", name_of(what.dtype), ", ", what.rows, " x ",
                                what.width, ", set ", what.set, ", root ", what.root, "): ", why));
}

}  // namespace

Handles start(const AdHoc& what, const ProcessSet& set, const std::shared_ptr<Context>& context,
              std::vector<at::Tensor>& inputs) {
  const at::Tensor input = input_of(what, context->rank());
  inputs = {input};
  const AllreduceOptions reduction{.name = what.name, .op = what.op, .process_set = set, .context = context};
  const CollectiveOptions options{.name = what.name, .process_set = set, .context = context};
  switch (what.kind) {
    case Kind::allreduce:
      return {allreduce_async(input, reduction)};
    case Kind::allreduce_in_place:
      return {allreduce_async_(input, reduction)};
    case Kind::broadcast:
      return {broadcast_async(input, what.root, options)};
    case Kind::broadcast_in_place:
      return {broadcast_async_(input, what.root, options)};
    case Kind::allgather:
      return {allgather_async(input, options)};
    case Kind::alltoall:
      return {alltoall_async(input, splits_of(what, context->rank()), options)};
    case Kind::reducescatter:
      return {reducescatter_async(input, reduction)};
    case Kind::grouped_allreduce:
      break;
  }
  inputs.clear();
  for (int part = 0; part < kGroupSize; ++part) inputs.push_back(input_of(what, context->rank(), part));
  return grouped_allreduce_async(inputs, reduction);
}

void wait_and_check(const AdHoc& what, const Handles& handles, int rank) {
  for (std::size_t part = 0; part < handles.size(); ++part) {
    const Handle& handle = handles[part];
    const at::Tensor got = handle.wait();
    const at::Tensor expected = expected_of(what, rank, static_cast<int>(part)).to(torch_type(what.dtype));
    const bool is_right = got.scalar_type() == expected.scalar_type() && got.sizes() == expected.sizes() &&
                          at::equal(got, expected);
    if (!is_right) fail(what, text("expected\n", expected, "\ngot\n", got));
    const bool has_rows = what.kind == Kind::allgather || what.kind == Kind::alltoall;
    if (has_rows && handle.rows_from_ranks() != expected_rows(what, rank))
      fail(what, "wrong rows from ranks");
  }
}

}  // namespace hvd
