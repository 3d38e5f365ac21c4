// More elements than fit into 24 bits and, where asked for and possible, than fit into 31: counts and offsets are std::size_t
// everywhere. With HVD_TEST_ROUNDS=full and 12 GiB of available memory the latter.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

#include "tests/conformance/suite_checks.h"

namespace hvd {
namespace {

std::size_t available_kib() {
  std::ifstream in("/proc/meminfo");
  for (std::string word; in >> word;) {
    std::size_t kib = 0;
    if (word == "MemAvailable:" && in >> kib) return kib;
  }
  return 0;
}

std::size_t huge_count() {
  const char* const rounds = std::getenv("HVD_TEST_ROUNDS");
  const bool is_full = rounds != nullptr && std::string(rounds) == "full";
  const bool has_room = available_kib() > (std::size_t{12} << 20);
  return (std::size_t{1} << (is_full && has_room ? 31 : 24)) + 101;
}

// Differs between ranks, and between offsets that are 2^16, 2^24 or 2^32 apart.
std::uint8_t value_at(std::size_t i, int rank) {
  return static_cast<std::uint8_t>(i * 7 + (i >> 8) + (i >> 16) * 3 + (i >> 24) * 5 +
                                   static_cast<std::size_t>(rank) * 11);
}

using Values = std::vector<std::uint8_t>;

// Element k is element `begin` + k of what `rank` has.
Values values_of(std::size_t begin, std::size_t count, int rank) {
  Values values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = value_at(begin + i, rank);
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
      return static_cast<std::uint8_t>(value_at(i, 0) + value_at(i, 1));
    }));
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
    ASSERT_NO_FATAL_FAILURE(expect_all(values, "allgather", [](std::size_t i) { return value_at(i, 0); }));
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
      return std::max(value_at(own_begin + i, 0), value_at(own_begin + i, 1));
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
      if (i >= receive_counts[0]) return value_at(i - receive_counts[0], 1);
      return value_at(rank == 0 ? i : i + 57, 0);
    }));
  }
}

TEST_P(CollectivesSuite, HugeCounts) {
  const CollectivesWorld& world = GetParam();
  if (!world.takes_huge_counts || std::find(world.sizes.begin(), world.sizes.end(), 2) == world.sizes.end())
    GTEST_SKIP() << "one world a backend is enough, with two ranks";
  const std::size_t count = huge_count();
  world.run(2, [&](Collectives& collectives, int rank) {
    for (const OpKind kind : {OpKind::allgather, OpKind::alltoall, OpKind::reducescatter}) {
      if (!collectives.supports(kind, DataType::uint8, ReduceOp::max)) return;
    }
    check_huge(collectives, rank, count);
  });
}

}  // namespace
}  // namespace hvd
