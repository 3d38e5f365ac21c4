#include "tests/conformance/suite_checks.h"

#include <algorithm>
#include <numeric>

#include "horovod_cpp/base/text.h"
#include "tests/conformance/collectives_reference.h"

namespace hvd {
namespace {

std::string text_of(const char* operation, const Member& member, const Batch& batch) {
  std::string counts;
  for (std::size_t i = 0; i < std::min<std::size_t>(batch.counts.size(), 16); ++i)
    counts += text(i == 0 ? "" : ", ", batch.counts[i]);
  return text("rank ", member.rank, " of ", member.size, ": ", operation, " ", name_of(batch.dtype), " ",
              name_of(batch.op), " × ", batch.scale, ", ", batch.counts.size(), " counts (", counts, "), ",
              batch.place == Place::in_place ? "in place" : "out of place", ", seed ", batch.seed);
}

// Integers wrap around: their sums and products are the same in every order.
Sample sample_of(const Member& member, DataType dtype) {
  return member.world.in_rank_order || !is_floating(dtype) ? Sample::any : Sample::whole;
}

std::size_t sum_of(const std::vector<std::size_t>& counts, std::size_t begin, std::size_t end) {
  return std::accumulate(counts.begin() + static_cast<std::ptrdiff_t>(begin),
                         counts.begin() + static_cast<std::ptrdiff_t>(end), std::size_t{0});
}

Bytes cut(const Bytes& whole, std::size_t begin, std::size_t bytes) {
  const auto first = whole.begin() + static_cast<std::ptrdiff_t>(begin);
  return Bytes(first, first + static_cast<std::ptrdiff_t>(bytes));
}

void expect_same(const Bytes& actual, const Bytes& expected, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  if (actual == expected) return;
  const auto where = std::mismatch(actual.begin(), actual.end(), expected.begin()).first - actual.begin();
  FAIL() << what << ": differs from the reference first at byte " << where << " of " << expected.size();
}

}  // namespace

std::size_t Batch::count() const { return sum_of(counts, 0, counts.size()); }

void check_allreduce(const Member& member, const Batch& batch) {
  std::vector<Bytes> inputs;
  for (int r = 0; r < member.size; ++r)
    inputs.push_back(
        sample_elements(batch.dtype, sample_of(member, batch.dtype), batch.count(), r, batch.seed));
  const Bytes& mine = inputs[static_cast<std::size_t>(member.rank)];
  const Tensors tensors(*member.world.memory, batch.dtype, batch.counts, batch.place, mine);
  const Status status = finish(member.collectives.allreduce({.slices = tensors.slices(),
                                                             .dtype = batch.dtype,
                                                             .op = batch.op,
                                                             .scale = batch.scale,
                                                             .deadline = patience()}));
  ASSERT_TRUE(status.is_ok()) << status.message();
  const std::string what = text_of("allreduce", member, batch);
  const Bytes expected = reference_allreduce(inputs, batch.dtype, batch.op, batch.scale);
  ASSERT_NO_FATAL_FAILURE(expect_same(tensors.outputs(), expected, what));
  if (batch.place == Place::in_place) return;
  ASSERT_TRUE(tensors.inputs() == mine) << what << ": input changed";
}

void check_broadcast(const Member& member, int root, const Batch& batch) {
  const Bytes mine = sample_elements(batch.dtype, Sample::any, batch.count(), member.rank, batch.seed);
  const Bytes expected = sample_elements(batch.dtype, Sample::any, batch.count(), root, batch.seed);
  const Tensors tensors(*member.world.memory, batch.dtype, batch.counts, batch.place, mine);
  const Status status = finish(member.collectives.broadcast(
      {.slices = tensors.slices(), .dtype = batch.dtype, .root = root, .deadline = patience()}));
  ASSERT_TRUE(status.is_ok()) << status.message();
  const std::string what = text("from rank ", root, ", ", text_of("broadcast", member, batch));
  ASSERT_NO_FATAL_FAILURE(expect_same(tensors.outputs(), expected, what));
  if (batch.place == Place::in_place) return;
  ASSERT_TRUE(tensors.inputs() == mine) << what << ": input changed";
}

void check_allgather(const Member& member, const Batch& batch) {
  const std::size_t width = size_in_bytes(batch.dtype);
  const auto own = static_cast<std::size_t>(member.rank);
  Bytes mine, expected;
  for (std::size_t r = 0; r < batch.counts.size(); ++r) {
    const Bytes part =
        sample_elements(batch.dtype, Sample::any, batch.counts[r], static_cast<int>(r), batch.seed);
    expected.insert(expected.end(), part.begin(), part.end());
    if (r == own) mine = part;
  }
  const Buffer output(*member.world.memory, expected.size());
  const std::size_t offset = sum_of(batch.counts, 0, own) * width;
  if (batch.place == Place::in_place) output.write(offset, mine);
  const Buffer input(*member.world.memory, mine);
  const void* const from = batch.place == Place::in_place ? output.data() + offset : input.data();
  const Status status = finish(member.collectives.allgather({.input = from,
                                                             .output = output.data(),
                                                             .counts = batch.counts,
                                                             .dtype = batch.dtype,
                                                             .deadline = patience()}));
  const std::string what = text_of("allgather", member, batch);
  ASSERT_TRUE(status.is_ok()) << what << ": " << status.message();
  ASSERT_NO_FATAL_FAILURE(expect_same(output.read(), expected, what));
  ASSERT_TRUE(output.end_is_untouched()) << what << ": wrote behind the output";
  ASSERT_TRUE(input.read() == mine) << what << ": input changed";
}

void check_alltoall(const Member& member, const Batch& batch) {
  const std::size_t width = size_in_bytes(batch.dtype);
  const auto own = static_cast<std::size_t>(member.rank), size = static_cast<std::size_t>(member.size);
  std::vector<std::size_t> send_counts, receive_counts;
  Bytes mine, expected;
  for (std::size_t r = 0; r < size; ++r) {
    send_counts.push_back(batch.counts[own * size + r]);
    receive_counts.push_back(batch.counts[r * size + own]);
    // What r sends to everybody.
    const Bytes theirs =
        sample_elements(batch.dtype, Sample::any, sum_of(batch.counts, r * size, (r + 1) * size),
                        static_cast<int>(r), batch.seed);
    if (r == own) mine = theirs;
    const Bytes part =
        cut(theirs, sum_of(batch.counts, r * size, r * size + own) * width, receive_counts.back() * width);
    expected.insert(expected.end(), part.begin(), part.end());
  }
  const Buffer input(*member.world.memory, mine);
  const Buffer output(*member.world.memory, expected.size());
  const Status status = finish(member.collectives.alltoall({.input = input.data(),
                                                            .output = output.data(),
                                                            .send_counts = send_counts,
                                                            .receive_counts = receive_counts,
                                                            .dtype = batch.dtype,
                                                            .deadline = patience()}));
  const std::string what = text_of("alltoall", member, batch);
  ASSERT_TRUE(status.is_ok()) << what << ": " << status.message();
  ASSERT_NO_FATAL_FAILURE(expect_same(output.read(), expected, what));
  ASSERT_TRUE(output.end_is_untouched()) << what << ": wrote behind the output";
  ASSERT_TRUE(input.read() == mine) << what << ": input changed";
}

void check_reducescatter(const Member& member, const Batch& batch) {
  const std::size_t width = size_in_bytes(batch.dtype);
  const auto own = static_cast<std::size_t>(member.rank);
  const std::size_t begin = sum_of(batch.counts, 0, own) * width, bytes = batch.counts[own] * width;
  // Only what becomes this rank's part of everybody's input.
  std::vector<Bytes> inputs;
  Bytes mine;
  for (int r = 0; r < member.size; ++r) {
    const Bytes whole =
        sample_elements(batch.dtype, sample_of(member, batch.dtype), batch.count(), r, batch.seed);
    inputs.push_back(cut(whole, begin, bytes));
    if (r == member.rank) mine = whole;
  }
  const Buffer input(*member.world.memory, mine);
  const Buffer output(*member.world.memory, bytes);
  const Status status = finish(member.collectives.reducescatter({.input = input.data(),
                                                                 .output = output.data(),
                                                                 .counts = batch.counts,
                                                                 .dtype = batch.dtype,
                                                                 .op = batch.op,
                                                                 .scale = batch.scale,
                                                                 .deadline = patience()}));
  const std::string what = text_of("reducescatter", member, batch);
  ASSERT_TRUE(status.is_ok()) << what << ": " << status.message();
  const Bytes expected = reference_allreduce(inputs, batch.dtype, batch.op, batch.scale);
  ASSERT_NO_FATAL_FAILURE(expect_same(output.read(), expected, what));
  ASSERT_TRUE(output.end_is_untouched()) << what << ": wrote behind the output";
  ASSERT_TRUE(input.read() == mine) << what << ": input changed";
}

void check_every_operation(const Member& member, std::uint64_t seed) {
  const auto size = static_cast<std::size_t>(member.size);
  const auto has = [&](OpKind kind) {
    return member.collectives.supports(kind, DataType::float32, ReduceOp::sum);
  };
  Batch batch{.seed = seed};
  batch.place = kPlaces[seed % 2];
  batch.counts = {3, 0, 101 + seed % 7};
  ASSERT_NO_FATAL_FAILURE(check_allreduce(member, batch));
  ASSERT_NO_FATAL_FAILURE(check_broadcast(member, static_cast<int>(seed % size), batch));
  batch.counts = uneven(97 + seed % 7, size, seed);
  if (has(OpKind::allgather)) {
    ASSERT_NO_FATAL_FAILURE(check_allgather(member, batch));
  }
  if (has(OpKind::reducescatter)) {
    ASSERT_NO_FATAL_FAILURE(check_reducescatter(member, batch));
  }
  batch.counts = uneven(211 + seed % 7, size * size, seed);
  if (has(OpKind::alltoall)) {
    ASSERT_NO_FATAL_FAILURE(check_alltoall(member, batch));
  }
  const Status status = member.collectives.barrier(patience());
  ASSERT_TRUE(status.is_ok()) << status.message();
}

double scale_for(const Member& member, DataType dtype, ReduceOp op, std::uint64_t seed) {
  if (member.world.scales_sums_only && op != ReduceOp::sum) return 1.0;
  if (!is_floating(dtype) || seed % 3 == 0) return 1.0;
  return member.world.in_rank_order ? 1.0 / 3 : 0.5;
}

std::vector<std::size_t> split(std::size_t count, std::size_t parts) {
  std::vector<std::size_t> counts;
  for (std::size_t i = 0; i < parts; ++i) counts.push_back(count * (i + 1) / parts - count * i / parts);
  return counts;
}

std::vector<std::size_t> uneven(std::size_t count, std::size_t parts, std::uint64_t seed) {
  std::vector<std::size_t> counts(parts, 0);
  std::size_t left = count;
  for (std::size_t i = 0; i + 1 < parts; ++i) {
    // Every third part is empty; the others take a share of what is left.
    const std::uint64_t draw = (seed + i) * 0x9e3779b97f4a7c15 >> 40;
    if (draw % 3 != 0) counts[(i + seed) % parts] = left / (2 + draw % 5);
    left -= counts[(i + seed) % parts];
  }
  counts[(parts - 1 + seed) % parts] = left;
  return counts;
}

}  // namespace hvd
