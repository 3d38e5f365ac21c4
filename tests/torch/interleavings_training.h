// The training of interleavings.h: two small models, each with a DistributedOptimizer of its own (SGD with momentum, Adam), and beside them
// the same models on this rank alone, which do the work of all ranks by themselves and average in a loop.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "tests/torch/interleavings_plan.h"
#include "tests/torch/models.h"

namespace hvd {

// What a rank does in the middle of a step, when it is asked to. From inside a backward, or between two calls.
using Meanwhile = std::function<void(bool is_inside_backward)>;

class Training {
 public:
  // Collective.
  explicit Training(ContextPointer context);
  ~Training();

  // One step, as the plan says; what is open to a rank is taken from `own`. Calls `meanwhile` now and then. Throws
  // std::runtime_error if anything is not as on one process, or what the library throws and should not.
  void take(const StepPlan& step, Dice& own, const Meanwhile& meanwhile);

  // Of the bits of all parameters and gradients.
  std::int64_t digest() const;

 private:
  struct Pupil;

  void backward(const StepPlan& step, std::size_t pass, Dice& own, const Meanwhile& meanwhile);
  // False if the step is dropped.
  bool take_passes(const StepPlan& step, Dice& own, const Meanwhile& meanwhile);
  void end_step(const StepPlan& step, Pupil& pupil, Dice& own);
  void follow(const StepPlan& step);
  std::vector<Pupil*> in_own_order(const StepPlan& step, Dice& own);

  ContextPointer context_;
  std::vector<std::unique_ptr<Pupil>> pupils_;
};

}  // namespace hvd
