#include "bindings/torch/round_facts.h"

#include <ATen/ops/zeros.h>

namespace hvd {

RoundFacts::RoundFacts(std::size_t gradients)
    : gradients_(gradients),
      values_(at::zeros({(2 * static_cast<std::int64_t>(gradients)) + 7}, c10::ScalarType::Float)) {}

void RoundFacts::write(const Own& own) {
  auto* const values = values_.mutable_data_ptr<float>();
  const auto flag = [](bool is_set) { return is_set ? 1.0F : 0.0F; };
  for (std::size_t i = 0; i < gradients_; ++i) {
    values[i] = flag(own.is_produced[i]);
    values[gradients_ + i] = flag(own.is_dense[i]);
  }
  auto* const rest = values + (2 * gradients_);
  rest[0] = flag(own.backward_failed);
  rest[1] = flag(own.has_more);
  rest[2] = static_cast<float>(own.round);
  rest[3] = static_cast<float>(own.round * own.round);
  rest[4] = 1.0F;
  rest[5] = flag(own.can_plan);
  rest[6] = flag(own.has_begun);
}

float RoundFacts::value(std::size_t index) const { return values_.const_data_ptr<float>()[index]; }

// Numbers are equal if their variance is zero.
bool RoundFacts::all_in_same_round() const {
  const double ranks = value((2 * gradients_) + 4);
  const double sum = value((2 * gradients_) + 2);
  const double sum_of_squares = value((2 * gradients_) + 3);
  return ranks * sum_of_squares == sum * sum;
}

}  // namespace hvd
