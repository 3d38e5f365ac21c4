// What every implementation of Collectives must do among some of its ranks.
#include <algorithm>
#include <set>

#include "horovod_cpp/base/rank_list.h"
#include "tests/conformance/suite_checks.h"

namespace hvd {
namespace {

using Ranks = std::vector<int>;

// Single ranks, all ranks, and sets that overlap.
std::vector<Ranks> member_sets(int n) {
  Ranks all, even, odd, without_first, ends{0};
  for (int rank = 0; rank < n; ++rank) {
    all.push_back(rank);
    (rank % 2 == 0 ? even : odd).push_back(rank);
    if (rank > 0) without_first.push_back(rank);
  }
  if (n > 1) ends.push_back(n - 1);
  std::set<Ranks> sets{{n - 1}, all, even, odd, without_first, ends};
  sets.erase(Ranks{});
  return {sets.begin(), sets.end()};
}

int place_in(const Ranks& members, int rank) {
  const auto found = std::find(members.begin(), members.end(), rank);
  return found == members.end() ? -1 : static_cast<int>(found - members.begin());
}

struct Subgroup {
  Ranks members;
  std::unique_ptr<Collectives> collectives;  // nullptr where this rank is none of them
};

// Every rank of `parent` calls this.
void open_subgroup(Collectives& parent, int rank, Subgroup& subgroup) {
  auto opened = parent.subgroup(subgroup.members, patience());
  ASSERT_TRUE(opened.is_ok()) << name_of_ranks(subgroup.members) << ": " << opened.status().message();
  const bool is_member = place_in(subgroup.members, rank) >= 0;
  ASSERT_EQ(opened.value() != nullptr, is_member) << name_of_ranks(subgroup.members) << ", on rank " << rank;
  subgroup.collectives = std::move(opened).value();
  if (!is_member) return;
  ASSERT_STREQ(subgroup.collectives->name(), parent.name());
  ASSERT_EQ(subgroup.collectives->device_type(), parent.device_type());
}

// All operations, where `rank` of the parent is a member.
void check_subgroup(const CollectivesWorld& world, const Subgroup& subgroup, int rank, std::uint64_t seed) {
  if (subgroup.collectives == nullptr) return;
  const testing::ScopedTrace trace(__FILE__, __LINE__, "among " + name_of_ranks(subgroup.members));
  check_every_operation({world, *subgroup.collectives, place_in(subgroup.members, rank),
                         static_cast<int>(subgroup.members.size())},
                        seed);
}

TEST_P(CollectivesSuite, SubgroupsAndTheirParentTakeTurns) {
  const CollectivesWorld& world = GetParam();
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int rank) {
      std::vector<Subgroup> subgroups;
      for (const Ranks& members : member_sets(n)) {
        subgroups.push_back({members, nullptr});
        ASSERT_NO_FATAL_FAILURE(open_subgroup(collectives, rank, subgroups.back()));
        ASSERT_NO_FATAL_FAILURE(check_subgroup(world, subgroups.back(), rank, subgroups.size()));
      }
      for (std::uint64_t round = 0; round < 3; ++round) {
        for (std::size_t i = 0; i < subgroups.size(); ++i) {
          ASSERT_NO_FATAL_FAILURE(check_subgroup(world, subgroups[i], rank, 100 * round + 10 * i));
          // Not after each: then ranks outside of subgroups run ahead of those inside.
          if ((i + round) % 2 == 0) {
            ASSERT_NO_FATAL_FAILURE(check_every_operation({world, collectives, rank, n}, 7 * round + i));
          }
        }
      }
    });
  }
}

TEST_P(CollectivesSuite, SubgroupsHaveSubgroups) {
  const CollectivesWorld& world = GetParam();
  for (const int n : world.sizes) {
    if (n == 1) continue;
    world.run(n, [&](Collectives& collectives, int rank) {
      Subgroup outer{member_sets(n).back(), nullptr};  // all but the first, or the last alone
      ASSERT_NO_FATAL_FAILURE(open_subgroup(collectives, rank, outer));
      const int place = place_in(outer.members, rank);
      const int outer_size = static_cast<int>(outer.members.size());
      std::vector<Subgroup> inner;
      for (const Ranks& members : member_sets(outer_size)) {
        if (place < 0) break;  // of no concern to this rank
        inner.push_back({members, nullptr});
        ASSERT_NO_FATAL_FAILURE(open_subgroup(*outer.collectives, place, inner.back()));
      }
      for (std::uint64_t round = 0; round < 2; ++round) {
        for (const Subgroup& subgroup : inner)
          ASSERT_NO_FATAL_FAILURE(check_subgroup(world, subgroup, place, round));
        ASSERT_NO_FATAL_FAILURE(check_subgroup(world, outer, rank, 10 + round));
        ASSERT_NO_FATAL_FAILURE(check_every_operation({world, collectives, rank, n}, 20 + round));
      }
      while (!inner.empty()) inner.pop_back();  // before the one that they may refer to
    });
  }
}

TEST_P(CollectivesSuite, SubgroupsComeAndGo) {
  const CollectivesWorld& world = GetParam();
  for (const int n : world.sizes) {
    world.run(n, [&](Collectives& collectives, int rank) {
      for (std::uint64_t round = 0; round < 5; ++round) {
        for (const Ranks& members : member_sets(n)) {
          Subgroup subgroup{members, nullptr};
          ASSERT_NO_FATAL_FAILURE(open_subgroup(collectives, rank, subgroup));
          ASSERT_NO_FATAL_FAILURE(check_subgroup(world, subgroup, rank, round));
        }
      }
      ASSERT_NO_FATAL_FAILURE(check_every_operation({world, collectives, rank, n}, 1));
    });
  }
}

}  // namespace
}  // namespace hvd
