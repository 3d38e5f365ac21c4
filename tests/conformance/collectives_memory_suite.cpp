// Memory that ranks register and reduce where it lies (RegisteredMemory). A backend without it is left out.
#include <cmath>
#include <cstring>

#include "tests/conformance/collectives_reference.h"
#include "tests/conformance/suite_checks.h"
#include "tests/conformance/suite_tensors.h"

namespace hvd {
namespace {

// Over the threshold of one block of the implementations, and not a multiple of anything.
constexpr std::size_t kElements = 20'011;
constexpr std::size_t kBeginBytes = 192;
constexpr std::size_t kBytes = kBeginBytes + kElements * 8 + 64;

std::unique_ptr<RegisteredMemory> share(const Member& member, std::size_t bytes) {
  auto memory = member.collectives.share_memory(bytes, patience());
  EXPECT_TRUE(memory.is_ok()) << memory.status().message();
  return memory.is_ok() ? std::move(memory).value() : nullptr;
}

std::byte* own(const RegisteredMemory& memory) {
  return memory.of_members()[static_cast<std::size_t>(memory.member())].data;
}

void check_reduction(const Member& member, const RegisteredMemory& memory, DataType dtype, ReduceOp op,
                     double scale, std::uint64_t seed) {
  std::vector<Bytes> inputs;
  for (int rank = 0; rank < member.size; ++rank) {
    inputs.push_back(sample_elements(dtype, Sample::any, kElements, rank, seed));
  }
  const Bytes& mine = inputs[static_cast<std::size_t>(member.rank)];
  std::memcpy(own(memory) + kBeginBytes, mine.data(), mine.size());
  ASSERT_TRUE(member.collectives.barrier(patience()).is_ok());
  // Whoever comes: here the last rank.
  if (member.rank == member.size - 1) memory.reduce({kBeginBytes, kElements, dtype}, op, scale, false);
  ASSERT_TRUE(member.collectives.barrier(patience()).is_ok());
  const Bytes expected = reference_allreduce(inputs, dtype, op, scale);
  EXPECT_EQ(std::memcmp(own(memory) + kBeginBytes, expected.data(), expected.size()), 0)
      << name_of(dtype) << ' ' << name_of(op) << ", seed " << seed;
  const std::byte* const all = own(memory);
  EXPECT_TRUE(std::all_of(all, all + kBeginBytes, [](std::byte b) { return b == std::byte{0}; }));
  ASSERT_TRUE(member.collectives.barrier(patience()).is_ok());
}

bool has_registered_memory(const Collectives& collectives) {
  return collectives.supports(OpKind::share_memory, DataType::uint8, ReduceOp::sum);
}

TEST_P(CollectivesSuite, RegisteredMemoryIsReducedAsByAnAllreduce) {
  const CollectivesWorld& world = GetParam();
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int rank) {
      if (!has_registered_memory(collectives)) {
        EXPECT_EQ(collectives.share_memory(64, patience()).status().code(), StatusCode::unimplemented);
        return;
      }
      const Member member{world, collectives, rank, n};
      const auto memory = share(member, kBytes);
      ASSERT_NE(memory, nullptr);
      ASSERT_EQ(memory->member(), rank);
      ASSERT_EQ(memory->of_members().size(), static_cast<std::size_t>(n));
      std::uint64_t seed = 0;
      for (int index = 0; index < kDataTypeCount; ++index) {
        const auto dtype = static_cast<DataType>(index);
        for (const ReduceOp op : kOps) {
          if (!collectives.supports(OpKind::allreduce, dtype, op)) continue;
          if (n != 3 && op != ReduceOp::sum) continue;  // other operations differ in the kernel only
          const double scale = scale_for(member, dtype, op, ++seed);
          ASSERT_NO_FATAL_FAILURE(check_reduction(member, *memory, dtype, op, scale, seed));
        }
      }
    });
  }
}

TEST_P(CollectivesSuite, RegisteredMemoryTellsTheSumOfSquares) {
  const CollectivesWorld& world = GetParam();
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int rank) {
      if (!has_registered_memory(collectives)) return;
      const Member member{world, collectives, rank, n};
      const auto memory = share(member, kBytes);
      ASSERT_NE(memory, nullptr);
      auto* const values = reinterpret_cast<double*>(own(*memory));
      for (int i = 0; i < 1001; ++i) values[i] = i;
      ASSERT_TRUE(collectives.barrier(patience()).is_ok());
      if (rank == 0) {
        const double sum = memory->reduce({0, 1001, DataType::float64}, ReduceOp::sum, 2.0 / n, true);
        EXPECT_NEAR(sum, 4.0 * 1000 * 1001 * 2001 / 6, 1e-3);
      }
      ASSERT_TRUE(collectives.barrier(patience()).is_ok());
    });
  }
}

TEST_P(CollectivesSuite, WhatNoRankHasTheMemoryForIsUnavailableOnAllAndBreaksNothing) {
  const CollectivesWorld& world = GetParam();
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int rank) {
      if (!has_registered_memory(collectives)) return;
      const Member member{world, collectives, rank, n};
      EXPECT_EQ(collectives.share_memory(std::size_t{1} << 52U, patience()).status().code(),
                StatusCode::unavailable);
      EXPECT_NE(share(member, 4096), nullptr);
      const int first = 0;
      EXPECT_TRUE(collectives.subgroup({&first, 1}, patience()).is_ok());
    });
  }
}

// The memory is the ranks' own: it lives on when the backend is gone.
TEST_P(CollectivesSuite, RegisteredMemoryIsZeroedAndApartFromOthers) {
  const CollectivesWorld& world = GetParam();
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int rank) {
      if (!has_registered_memory(collectives)) return;
      const Member member{world, collectives, rank, n};
      const auto first = share(member, 4096);
      const auto second = share(member, 10'000);
      ASSERT_TRUE(first != nullptr && second != nullptr);
      std::memset(own(*first), rank + 1, 4096);
      ASSERT_TRUE(collectives.barrier(patience()).is_ok());
      for (int peer = 0; peer < n; ++peer) {
        EXPECT_EQ(first->of_members()[static_cast<std::size_t>(peer)].data[4095],
                  std::byte{static_cast<unsigned char>(peer + 1)});
        EXPECT_EQ(second->of_members()[static_cast<std::size_t>(peer)].data[9999], std::byte{0});
      }
      ASSERT_TRUE(collectives.barrier(patience()).is_ok());
    });
  }
}

}  // namespace
}  // namespace hvd
