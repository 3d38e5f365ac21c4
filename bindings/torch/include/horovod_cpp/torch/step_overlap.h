// StepOverlap: how much of a step's communication the backward pass has hidden, on this rank. A value.
#pragma once

#include <chrono>

namespace hvd {

struct StepOverlap {
  std::chrono::nanoseconds hidden{};  // operations that this rank had under way while backward ran
  std::chrono::nanoseconds
      exposed{};  // from the end of each backward until the averages were there, also for ranks that came late

  // 0 to 1; 1 if there was nothing to hide.
  double hidden_share() const {
    const auto all = (hidden + exposed).count();
    return all > 0 ? static_cast<double>(hidden.count()) / static_cast<double>(all) : 1.0;
  }
};

}  // namespace hvd
