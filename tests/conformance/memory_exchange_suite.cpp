#include "tests/conformance/memory_exchange_suite.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace hvd {
namespace {

Deadline soon() { return Deadline::after(std::chrono::seconds(30)); }

// No rank leaves before all have come: allocate is collective.
void meet(MemoryExchange& memory) {
  const auto met = memory.allocate(1, soon());
  ASSERT_TRUE(met.is_ok()) << met.status().message();
}

std::size_t length_of(int rank, int round) {
  return static_cast<std::size_t>(rank) * 5000 + static_cast<std::size_t>(round);
}

std::byte mark(int writer, int owner) { return static_cast<std::byte>(writer * 16 + owner + 1); }

// Every rank writes one byte into everybody's memory and finds everybody's bytes in all of them.
void all_ranks_see_all_memory(MemoryExchange& memory) {
  const int rank = memory.rank();
  const int size = memory.size();
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto end = static_cast<std::size_t>(size);
  auto mapped = memory.allocate(100, soon());
  ASSERT_TRUE(mapped.is_ok()) << mapped.status().message();
  ASSERT_EQ(mapped->size(), end);
  for (int owner = 0; owner < size; ++owner) {
    MappedMemory& segment = mapped.value()[static_cast<std::size_t>(owner)];
    EXPECT_EQ(segment.size_bytes, 100U);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(segment.data) % page, 0U);
    segment.data[rank] = mark(rank, owner);
  }
  meet(memory);
  for (int owner = 0; owner < size; ++owner) {
    const MappedMemory& segment = mapped.value()[static_cast<std::size_t>(owner)];
    for (int writer = 0; writer < size; ++writer) EXPECT_EQ(segment.data[writer], mark(writer, owner));
    EXPECT_TRUE(std::all_of(segment.data + size, segment.data + 100,
                            [](std::byte byte) { return byte == std::byte{0}; }));
  }
}

void ranks_choose_their_lengths(MemoryExchange& memory) {
  for (int round = 0; round < 3; ++round) {
    auto mapped = memory.allocate(length_of(memory.rank(), round), soon());
    ASSERT_TRUE(mapped.is_ok()) << mapped.status().message();
    for (int owner = 0; owner < memory.size(); ++owner) {
      const MappedMemory& segment = mapped.value()[static_cast<std::size_t>(owner)];
      ASSERT_EQ(segment.size_bytes, length_of(owner, round));
      ASSERT_NE(segment.data, nullptr);
      EXPECT_TRUE(std::all_of(segment.data, segment.data + segment.size_bytes, [](std::byte byte) {
        return byte == std::byte{0};
      })) << "not zeroed";
    }
    // Nobody writes before all have looked.
    meet(memory);
    MappedMemory& own = mapped.value()[static_cast<std::size_t>(memory.rank())];
    std::fill_n(own.data, own.size_bytes, std::byte{0xff});
  }
}

// All ranks, and those but the first; then one within the latter.
void subgroups_share_memory_of_their_own(MemoryExchange& memory) {
  std::vector<int> all, others;
  for (int rank = 0; rank < memory.size(); ++rank) {
    all.push_back(rank);
    if (rank > 0) others.push_back(rank);
  }
  for (int round = 0; round < 2; ++round) {
    auto whole = memory.subgroup(all);
    ASSERT_TRUE(whole.is_ok()) << whole.status().message();
    ASSERT_NO_FATAL_FAILURE(all_ranks_see_all_memory(**whole));
    if (others.empty()) continue;
    auto part = memory.subgroup(others);
    ASSERT_TRUE(part.is_ok()) << part.status().message();
    ASSERT_EQ(*part != nullptr, memory.rank() > 0);
    if (*part != nullptr) {
      EXPECT_EQ((*part)->rank(), memory.rank() - 1);
      EXPECT_EQ((*part)->size(), memory.size() - 1);
      const int last = (*part)->size() - 1;
      auto alone = (*part)->subgroup({&last, 1});
      ASSERT_TRUE(alone.is_ok()) << alone.status().message();
      ASSERT_EQ(*alone != nullptr, (*part)->rank() == last);
      if (*alone != nullptr) {
        ASSERT_NO_FATAL_FAILURE(all_ranks_see_all_memory(**alone));
      }
      ASSERT_NO_FATAL_FAILURE(all_ranks_see_all_memory(**part));
    }
    ASSERT_NO_FATAL_FAILURE(all_ranks_see_all_memory(memory));
    ASSERT_NO_FATAL_FAILURE(all_ranks_see_all_memory(**whole));
  }
}

void a_mapping_outlives_what_its_owner_keeps(MemoryExchange& memory) {
  const int next = (memory.rank() + 1) % memory.size();
  MappedMemory of_next;
  {
    auto mapped = memory.allocate(4096, soon());
    ASSERT_TRUE(mapped.is_ok()) << mapped.status().message();
    mapped.value()[static_cast<std::size_t>(memory.rank())].data[7] = mark(memory.rank(), 0);
    of_next = mapped.value()[static_cast<std::size_t>(next)];
  }
  meet(memory);
  EXPECT_EQ(of_next.data[7], mark(next, 0));
}

void lack_of_memory_on_one_rank_fails_on_all(MemoryExchange& memory) {
  const bool is_greedy = memory.rank() == memory.size() - 1;
  const auto mapped = memory.allocate(is_greedy ? std::size_t{1} << 56 : 100, soon());
  ASSERT_FALSE(mapped.is_ok());
  EXPECT_EQ(mapped.status().code(), StatusCode::unavailable) << mapped.status().message();
  EXPECT_NE(mapped.status().message().find("rank " + std::to_string(memory.size() - 1)), std::string::npos)
      << mapped.status().message();
  // Nobody is out of step.
  ASSERT_NO_FATAL_FAILURE(all_ranks_see_all_memory(memory));
}

void a_passed_deadline_is_told(MemoryExchange& memory) {
  if (memory.rank() == 0) return;  // does not come
  const auto mapped = memory.allocate(100, Deadline::after(std::chrono::milliseconds(100)));
  ASSERT_FALSE(mapped.is_ok());
  EXPECT_EQ(mapped.status().code(), StatusCode::timed_out) << mapped.status().message();
}

constexpr MemoryExchangeCheck kChecks[] = {
    {"AllRanksSeeAllMemory", all_ranks_see_all_memory},
    {"RanksChooseTheirLengths", ranks_choose_their_lengths},
    {"SubgroupsShareMemoryOfTheirOwn", subgroups_share_memory_of_their_own},
    {"AMappingOutlivesWhatItsOwnerKeeps", a_mapping_outlives_what_its_owner_keeps},
    {"LackOfMemoryOnOneRankFailsOnAll", lack_of_memory_on_one_rank_fails_on_all, 1, true},
    {"APassedDeadlineIsTold", a_passed_deadline_is_told, 2, true},
};

}  // namespace

std::span<const MemoryExchangeCheck> memory_exchange_checks() { return kChecks; }

}  // namespace hvd
