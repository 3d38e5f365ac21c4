// Every operation of a Session among the members of a process set, checked. For ranks as threads and as processes. Each returns "", or what
// was wrong.
#pragma once

#include <string>
#include <vector>

#include "horovod_cpp/session.h"

namespace hvd {

// A process set as one of its members sees it.
struct Membership {
  int id = 0;
  std::vector<int> members;
  int position = 0;  // of this rank among them
};
Membership all_ranks(const Session& session);
// Collective over all ranks. Throws std::runtime_error.
Membership add_set(Session& session, const std::vector<int>& ranks);

enum class Step { gather, exchange, scatter, average, broadcast, barrier };
inline constexpr int kSteps = 6;
// Values depend on `variant`, which is the same on all members.
std::string do_step(Session& session, const Membership& set, Step step, const std::string& name, int variant);
std::string do_every_step(Session& session, const Membership& set, const std::string& name, int variant);

// Overlapping sets of four ranks, all used at once under the same names; removed in the end.
std::string use_overlapping_sets(Session& session, int rounds);

// Rank r of n has r + 1 batches of data, then joins.
std::string join_when_out_of_data(Session& session);

// Training steps mixed with ad-hoc operations, `rounds` times, each rank in its own order, from two threads.
std::string interleave(Session& session, std::uint64_t seed, int rounds);

}  // namespace hvd
