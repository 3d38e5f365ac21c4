// What ranks tell each other about a round of the gradient exchange, besides gradients: one small float32 tensor that is summed over ranks.
//
// Before the sum it holds this rank's facts, afterwards everybody's. One thread at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "horovod_cpp/base/status.h"

namespace hvd {

class RoundFacts {
 public:
  struct Own {
    std::vector<bool> is_produced;  // [gradient] this rank has it
    std::vector<bool> is_dense;     // [gradient] … or has values of it, as a dense tensor
    bool backward_failed = false;
    bool has_more = false;   // pieces of gradients that go into another round, at once
    std::int64_t round = 0;  // how many there were since the last step
    bool has_begun = false;  // its step is not one that was dropped
    bool can_plan = false;   // a plan could hold what this rank had
  };

  explicit RoundFacts(std::size_t gradients);

  void write(const Own& own);
  const at::Tensor& tensor() const { return values_; }

  // After the sum:
  bool is_used_somewhere(std::size_t gradient) const { return value(gradient) > 0.0F; }
  bool is_dense_somewhere(std::size_t gradient) const { return value(gradients_ + gradient) > 0.0F; }
  int failed_backwards() const { return static_cast<int>(value(2 * gradients_)); }
  bool another_round_follows() const { return value((2 * gradients_) + 1) > 0.0F; }
  bool step_has_begun() const { return value((2 * gradients_) + 6) > 0.0F; }
  int ranks_that_can_plan() const { return static_cast<int>(value((2 * gradients_) + 5)); }
  // The same verdict on every rank: whether all are in the same round of their step. Ranks that have joined (hvd::join) are in none.
  bool all_in_same_round() const;

 private:
  float value(std::size_t index) const;

  std::size_t gradients_;
  at::Tensor
      values_;  // produced flags; dense flags; failed backwards; who has more; round; its square; 1; can plan; has begun
};

}  // namespace hvd
