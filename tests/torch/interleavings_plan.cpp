#include "tests/torch/interleavings_plan.h"

#include <set>
#include <utility>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

constexpr int kMostSteps = 3;
constexpr int kMostOperations = 14;
constexpr int kRoundsOfAModel = 12;  // on average

constexpr std::array kTypes{DataType::uint8,   DataType::int8,    DataType::int32,
                            DataType::int64,   DataType::float16, DataType::bfloat16,
                            DataType::float32, DataType::float64, DataType::boolean};

std::uint64_t mixed(std::uint64_t seed, std::uint64_t stream) {
  std::uint64_t x = seed + (stream + 1) * 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31U);
}

bool reduces(AdHoc::Kind kind) {
  using Kind = AdHoc::Kind;
  return kind == Kind::allreduce || kind == Kind::allreduce_in_place || kind == Kind::grouped_allreduce ||
         kind == Kind::reducescatter;
}

AdHoc operation_of(Dice& dice, int steps) {
  AdHoc out;
  out.kind = static_cast<AdHoc::Kind>(dice.below(8));
  const auto& sets = sets_of_ranks();
  out.set = dice.one_in(2) ? 0 : dice.below(static_cast<int>(sets.size()));
  const auto& members = sets[static_cast<std::size_t>(out.set)];
  out.root = members[static_cast<std::size_t>(dice.below(static_cast<int>(members.size())))];
  out.dtype = kTypes[static_cast<std::size_t>(dice.below(static_cast<int>(kTypes.size())))];
  out.op = static_cast<ReduceOp>(dice.below(5));  // average … product
  const bool is_ordered_only = out.op == ReduceOp::min || out.op == ReduceOp::max;
  if (out.dtype == DataType::boolean && reduces(out.kind) && !is_ordered_only) out.dtype = DataType::int64;
  const bool is_large = dice.one_in(12);
  out.rows = 1 + dice.below(is_large ? 6000 : 9);
  out.width = 1 + dice.below(3);
  out.salt = dice.below(1 << 20);
  out.due = dice.below(steps);
  out.last = dice.one_in(5) ? kNextRound : out.due + dice.below(steps - out.due);
  return out;
}

// Few names, so that each is used again and again for something else. One that stays open may not be used in the next round.
void give_names(std::vector<AdHoc>& operations, Dice& dice, int round) {
  std::set<std::pair<int, std::string>> taken;
  for (AdHoc& operation : operations) {
    const std::string kind =
        operation.last == kNextRound ? text("open from round ", round % 2, ' ') : "ad hoc ";
    do {
      operation.name = text(kind, dice.below(2 * kMostOperations));
    } while (!taken.emplace(operation.set, operation.name).second);
  }
}

// What a loss uses: a random choice of what is not `unused`, and never nothing.
unsigned parts_of(Dice& dice, int model, unsigned unused) {
  const unsigned available =
      (model == 0 ? kBelow | kLeft | kRight : kBelow | kLeft | kRight | kWide) & ~unused;
  unsigned parts = 0;
  while (parts == 0) {
    parts = available;
    for (const unsigned part : {kBelow, kLeft, kRight, kWide}) {
      if (dice.one_in(4)) parts &= ~part;
    }
  }
  return parts;
}

PassPlan pass_of(Dice& dice) {
  PassPlan out;
  for (int model = 0; model < kModels; ++model) {
    constexpr std::array<unsigned, 4> kUnusedEverywhere{0, kRight, kLeft | kRight, kBelow};
    const unsigned unused = kUnusedEverywhere[static_cast<std::size_t>(dice.one_in(2) ? 0 : dice.below(4))];
    const bool all_the_same = dice.one_in(3);
    const unsigned common = parts_of(dice, model, unused);
    for (unsigned& uses : out.uses[static_cast<std::size_t>(model)]) {
      uses = all_the_same ? common : parts_of(dice, model, unused);
    }
  }
  return out;
}

StepPlan step_of(Dice& dice, int number) {
  StepPlan out;
  out.number = number;
  out.models = {dice.below(kModels)};
  if (dice.one_in(3)) out.models = {0, 1};
  out.clears = !dice.one_in(8);
  out.set_to_none = !dice.one_in(3);
  out.passes.push_back(pass_of(dice));
  if (dice.one_in(4)) {
    out.passes.push_back(pass_of(dice));
  } else if (dice.one_in(5)) {
    out.idle_rank = dice.below(kRanks);
  }
  if (!dice.one_in(5)) return out;
  out.failing_rank = dice.below(kRanks);
  if (out.failing_rank == out.idle_rank) out.idle_rank = kNobody;
  out.failing_pass = dice.below(static_cast<int>(out.passes.size()));
  out.failing_model = out.models[static_cast<std::size_t>(dice.below(static_cast<int>(out.models.size())))];
  out.fails_late = dice.one_in(2);
  // A throw before the first gradient would not be seen by others, and only `below` lies below where it is thrown.
  out.passes[static_cast<std::size_t>(out.failing_pass)]
      .uses[static_cast<std::size_t>(out.failing_model)][static_cast<std::size_t>(out.failing_rank)] |=
      kBelow | (dice.one_in(2) ? kLeft : kRight);
  return out;
}

}  // namespace

const std::vector<std::vector<int>>& sets_of_ranks() {
  static const std::vector<std::vector<int>> sets{{0, 1, 2, 3}, {0, 1}, {1, 2, 3}, {0, 3}, {2}};
  return sets;
}

RoundPlan plan_of_round(std::uint64_t seed, int round) {
  Dice dice(mixed(seed, kRanks + static_cast<std::uint64_t>(round)));
  RoundPlan out;
  out.starts_anew = round == 0 || dice.one_in(kRoundsOfAModel);
  const int steps = 1 + dice.below(kMostSteps);
  for (int i = 0; i < steps; ++i) out.steps.push_back(step_of(dice, (round * kMostSteps) + i));
  const int operations = 2 + dice.below(kMostOperations - 1);
  for (int i = 0; i < operations; ++i) out.operations.push_back(operation_of(dice, steps));
  give_names(out.operations, dice, round);
  return out;
}

Dice own_dice(std::uint64_t seed, int rank) { return Dice(mixed(seed, static_cast<std::uint64_t>(rank))); }

}  // namespace hvd
