// More elements than fit into 24 bits and, where asked for and possible, than fit into 31: counts and offsets are std::size_t
// everywhere. With HVD_TEST_ROUNDS=full and 8 GiB of available memory the latter.
#include <algorithm>
#include <string>

#include "tests/conformance/suite_checks.h"
#include "tests/harness/huge.h"

namespace hvd {
namespace {

constexpr std::size_t kRoom = std::size_t{8} << 30U;

using Values = std::vector<std::uint8_t>;

// Element k is element `begin` + k of what `rank` has.
Values values_of(std::size_t begin, std::size_t count, int rank) {
  Values values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = huge_value(begin + i, rank);
  return values;
}

// expected(i) for all i; where it does not hold is named once.
template <class Expected>
void expect_all(const Values& actual, const char* what, Expected&& expected) {
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (actual[i] == expected(i)) continue;
    FAIL() << what << ": element " << i << " of " << actual.size() << " is " << int{actual[i]}
           << ", expected " << int{expected(i)};
  }
}

// The same count on every rank, where memory may have become short for one of them.
std::size_t agreed_count(Collectives& collectives) {
  std::uint8_t has_room = has_room_for(kRoom) ? 1 : 0;
  const TensorSlice slice{&has_room, &has_room, 1};
  const Status status = finish(collectives.allreduce(
      {.slices = {&slice, 1}, .dtype = DataType::uint8, .op = ReduceOp::min, .deadline = patience()}));
  EXPECT_TRUE(status.is_ok()) << status.message();
  return huge_count(has_room == 1);
}

// One operation at a time, so that only its own tensors are in memory.
void check_huge(Collectives& collectives, int rank, std::size_t count) {
  const std::size_t counts[] = {count - 57, 57};
  const std::size_t own_begin = rank == 0 ? 0 : counts[0], own_count = counts[rank];
  {
    Values values = values_of(0, count, rank);
    const TensorSlice slice{values.data(), values.data(), count};
    const Status status = finish(
        collectives.allreduce({.slices = {&slice, 1}, .dtype = DataType::uint8, .deadline = patience()}));
    ASSERT_TRUE(status.is_ok()) << status.message();
    ASSERT_NO_FATAL_FAILURE(expect_all(values, "allreduce", [](std::size_t i) {
      return static_cast<std::uint8_t>(huge_value(i, 0) + huge_value(i, 1));
    }));
  }
  {
    Values values = values_of(0, count, rank);
    const TensorSlice slice{values.data(), values.data(), count};
    const Status status = finish(collectives.broadcast(
        {.slices = {&slice, 1}, .dtype = DataType::uint8, .root = 1, .deadline = patience()}));
    ASSERT_TRUE(status.is_ok()) << status.message();
    ASSERT_NO_FATAL_FAILURE(expect_all(values, "broadcast", [](std::size_t i) { return huge_value(i, 1); }));
  }
  {
    Values values(count);
    const Values mine = values_of(own_begin, own_count, 0);
    std::copy(mine.begin(), mine.end(), values.begin() + static_cast<std::ptrdiff_t>(own_begin));
    const Status status = finish(collectives.allgather({.input = values.data() + own_begin,
                                                        .output = values.data(),
                                                        .counts = counts,
                                                        .dtype = DataType::uint8,
                                                        .deadline = patience()}));
    ASSERT_TRUE(status.is_ok()) << status.message();
    ASSERT_NO_FATAL_FAILURE(expect_all(values, "allgather", [](std::size_t i) { return huge_value(i, 0); }));
  }
  {
    const Values values = values_of(0, count, rank);
    Values part(own_count);
    const Status status = finish(collectives.reducescatter({.input = values.data(),
                                                            .output = part.data(),
                                                            .counts = counts,
                                                            .dtype = DataType::uint8,
                                                            .op = ReduceOp::max,
                                                            .deadline = patience()}));
    ASSERT_TRUE(status.is_ok()) << status.message();
    ASSERT_NO_FATAL_FAILURE(expect_all(part, "reducescatter", [&](std::size_t i) {
      return std::max(huge_value(own_begin + i, 0), huge_value(own_begin + i, 1));
    }));
  }
  {
    // All that rank 0 has goes to rank 1, but for 57.
    const std::size_t sent[2][2] = {{57, count - 57}, {57, 0}};
    const std::size_t receive_counts[] = {sent[0][rank], sent[1][rank]};
    const Values values = values_of(0, sent[rank][0] + sent[rank][1], rank);
    Values received(receive_counts[0] + receive_counts[1]);
    const Status status = finish(collectives.alltoall({.input = values.data(),
                                                       .output = received.data(),
                                                       .send_counts = sent[rank],
                                                       .receive_counts = receive_counts,
                                                       .dtype = DataType::uint8,
                                                       .deadline = patience()}));
    ASSERT_TRUE(status.is_ok()) << status.message();
    ASSERT_NO_FATAL_FAILURE(expect_all(received, "alltoall", [&](std::size_t i) {
      if (i >= receive_counts[0]) return huge_value(i - receive_counts[0], 1);
      return huge_value(rank == 0 ? i : i + 57, 0);
    }));
  }
}

TEST_P(CollectivesSuite, HugeCounts) {
  const CollectivesWorld& world = GetParam();
  if (!world.takes_huge_counts || std::find(world.sizes.begin(), world.sizes.end(), 2) == world.sizes.end())
    GTEST_SKIP() << "one world a backend is enough, with two ranks";
  world.run(2, [&](Collectives& collectives, int rank) {
    for (const OpKind kind :
         {OpKind::broadcast, OpKind::allgather, OpKind::alltoall, OpKind::reducescatter}) {
      if (!collectives.supports(kind, DataType::uint8, ReduceOp::max)) return;
    }
    check_huge(collectives, rank, agreed_count(collectives));
  });
}

}  // namespace
}  // namespace hvd
