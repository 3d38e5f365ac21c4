#include "bindings/torch/round_facts.h"

#include <ATen/ops/zeros.h>

namespace hvd {

RoundFacts::RoundFacts(std::size_t gradients)
    : gradients_(gradients),
      values_(at::zeros({static_cast<std::int64_t>(gradients) + 3}, c10::ScalarType::Float)) {}

void RoundFacts::write(const std::vector<bool>& produced, bool backward_failed, std::int64_t round) {
  auto* const values = values_.mutable_data_ptr<float>();
  for (std::size_t i = 0; i < gradients_; ++i) values[i] = produced[i] ? 1.0F : 0.0F;
  values[gradients_] = backward_failed ? 1.0F : 0.0F;
  values[gradients_ + 1] = static_cast<float>(round);
  values[gradients_ + 2] = static_cast<float>(round * round);
}

float RoundFacts::value(std::size_t index) const { return values_.const_data_ptr<float>()[index]; }

// Numbers are equal if their variance is zero.
bool RoundFacts::all_in_same_round(int size) const {
  const double sum = value(gradients_ + 1);
  const double sum_of_squares = value(gradients_ + 2);
  return size * sum_of_squares == sum * sum;
}

}  // namespace hvd
