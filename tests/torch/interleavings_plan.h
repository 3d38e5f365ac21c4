// What happens in a round of interleavings.h, as plain data: a pure function of seed and round, so every rank comes to the same plan. What a
// rank decides by itself (orders, moments, threads) is not in it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "horovod_cpp/base/types.h"

namespace hvd {

inline constexpr int kRanks = 4;
inline constexpr int kModels = 2;
inline constexpr int kNobody = -1;

// A stream of random choices.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) {}
  int below(int n) { return static_cast<int>(random_() % static_cast<std::uint64_t>(n)); }
  bool one_in(int n) { return below(n) == 0; }
  template <class List>
  void shuffle(List& list) {
    std::shuffle(list.begin(), list.end(), random_);
  }

 private:
  std::mt19937_64 random_;
};

// Process sets that overlap. Number 0: all ranks.
const std::vector<std::vector<int>>& sets_of_ranks();

// An operation that is no part of training.
struct AdHoc {
  enum class Kind {
    allreduce,
    allreduce_in_place,
    grouped_allreduce,
    broadcast,
    broadcast_in_place,
    allgather,
    alltoall,
    reducescatter,
  };
  Kind kind = Kind::allreduce;
  std::string name;
  int set = 0;  // of sets_of_ranks()
  DataType dtype = DataType::float32;
  ReduceOp op = ReduceOp::sum;
  int root = 0;  // a rank of the job
  int rows = 0;
  int width = 1;
  int salt = 0;  // contents are a function of it
  // Steps of the round. Members may submit it from the beginning of the round, and have by the end of step `due`: whoever is past that
  // step may wait for it. Waited for by the end of step `last`; kNextRound: some time in the next one.
  int due = 0;
  int last = 0;
};
inline constexpr int kNextRound = 1000;

// What of a model a rank's loss uses.
enum Part : unsigned { kBelow = 1, kLeft = 2, kRight = 4, kWide = 8 };

// One backward.
struct PassPlan {
  std::array<std::array<unsigned, kRanks>, kModels> uses{};
};

struct StepPlan {
  int number = 0;                // unlike that of any other step: what the data are made of
  std::vector<int> models;       // that share each backward; each ends with the step() of its own optimizer
  std::vector<PassPlan> passes;  // one or two
  bool clears = true;            // begins with zero_grad(set_to_none)
  bool set_to_none = true;
  int idle_rank = kNobody;     // takes no backward
  int failing_rank = kNobody;  // its backward throws, and all ranks drop the step …
  int failing_pass = 0;
  int failing_model = 0;
  bool fails_late = false;  // … after the last gradient of this model, or before that of `below`

  bool is_dropped() const { return failing_rank != kNobody; }
};

struct RoundPlan {
  // Models, optimizers and process sets are made afresh before it.
  bool starts_anew = false;
  std::vector<StepPlan> steps;
  std::vector<AdHoc> operations;
};

RoundPlan plan_of_round(std::uint64_t seed, int round);
// For what rank `rank` decides by itself.
Dice own_dice(std::uint64_t seed, int rank);

}  // namespace hvd
