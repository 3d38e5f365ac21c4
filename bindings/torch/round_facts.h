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
  explicit RoundFacts(std::size_t gradients);

  // produced[i]: this rank has gradient i; `round`: how many there were since the last step.
  void write(const std::vector<bool>& produced, bool backward_failed, std::int64_t round);
  const at::Tensor& tensor() const { return values_; }

  // After the sum:
  bool is_used_somewhere(std::size_t gradient) const { return value(gradient) > 0.0F; }
  int failed_backwards() const { return static_cast<int>(value(gradients_)); }
  // The same verdict on every rank: whether all are in the same round of their step.
  bool all_in_same_round(int size) const;

 private:
  float value(std::size_t index) const;

  std::size_t gradients_;
  at::Tensor values_;  // used flags; failed backwards; round; its square
};

}  // namespace hvd
