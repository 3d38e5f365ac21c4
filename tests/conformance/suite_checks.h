// One operation, run by every rank of a group and compared with the reference. Private to the collectives suite.
//
// What went wrong goes to the running case: call within ASSERT_NO_FATAL_FAILURE.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/conformance/collectives_suite.h"
#include "tests/conformance/suite_tensors.h"

namespace hvd {

// One rank of a world or of a subgroup.
struct Member {
  const CollectivesWorld& world;
  Collectives& collectives;
  int rank;
  int size;
};

// What is sent and how it is reduced. A pure function of `seed`, and the same on every rank.
struct Batch {
  // allreduce, broadcast: elements of each slice. allgather: from each rank. reducescatter: for each rank.
  // alltoall: from each rank for each rank; [from × size + to].
  std::vector<std::size_t> counts = {};
  DataType dtype = DataType::float32;
  ReduceOp op = ReduceOp::sum;
  double scale = 1.0;
  Place place = Place::out_of_place;
  std::uint64_t seed = 1;

  std::size_t count() const;
};

void check_allreduce(const Member& member, const Batch& batch);
void check_broadcast(const Member& member, int root, const Batch& batch);
void check_allgather(const Member& member, const Batch& batch);
void check_alltoall(const Member& member, const Batch& batch);
void check_reducescatter(const Member& member, const Batch& batch);

// One after another every operation that the backend has, short and of odd lengths, then a barrier.
void check_every_operation(const Member& member, std::uint64_t seed);

// A factor for floating types, 1 for all others. Exact where the backend does not add in the order of ranks.
double scale_for(const Member& member, DataType dtype, ReduceOp op, std::uint64_t seed);

inline constexpr std::array kOps{ReduceOp::sum, ReduceOp::min, ReduceOp::max, ReduceOp::product};
inline constexpr std::array kPlaces{Place::in_place, Place::out_of_place};

// `count` elements in `parts` parts of nearly the same length.
std::vector<std::size_t> split(std::size_t count, std::size_t parts);
// `parts` parts of very different lengths, some of them empty.
std::vector<std::size_t> uneven(std::size_t count, std::size_t parts, std::uint64_t seed);

}  // namespace hvd
