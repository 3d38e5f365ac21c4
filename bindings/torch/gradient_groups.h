// Gradients that are submitted together, when the last of them is complete.
// Not thread-safe: the exchange's mutex covers it.
#pragma once

#include <cstddef>
#include <vector>

#include "bindings/torch/bucket_plan.h"

namespace hvd {

class GradientGroups {
 public:
  GradientGroups(std::size_t gradients, IndexGroups groups)
      : groups_(std::move(groups)), group_of_(gradients, kNone), missing_(groups_.size()) {
    for (std::size_t group = 0; group < groups_.size(); ++group) {
      for (const std::size_t index : groups_[group]) group_of_[index] = group;
    }
    start_afresh();
  }

  // Gradient `index` is complete, for the first time in this round. What can be submitted now: itself, its whole group, or nothing yet.
  std::vector<std::size_t> arrive(std::size_t index) {
    const std::size_t group = group_of_[index];
    if (group == kNone) return {index};
    if (--missing_[group] > 0) return {};
    return groups_[group];
  }
  void start_afresh() {
    for (std::size_t group = 0; group < groups_.size(); ++group) missing_[group] = groups_[group].size();
  }

 private:
  static constexpr auto kNone = static_cast<std::size_t>(-1);
  IndexGroups groups_;
  std::vector<std::size_t> group_of_;  // [gradient]
  std::vector<std::size_t> missing_;   // [group]
};

}  // namespace hvd
