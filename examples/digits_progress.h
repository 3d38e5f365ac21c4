// Shows how training goes, on rank 0: a bar that is redrawn on a terminal, one line an epoch anywhere else.
#pragma once

#include <chrono>
#include <cstdint>

namespace digits {

class Progress {
 public:
  // `is_shown` false: prints nothing.
  Progress(bool is_shown, int epochs);

  void begin_epoch(int epoch, std::int64_t steps);
  // After each step: `samples` of all ranks, `loss` their mean.
  void step(double loss, std::int64_t samples);
  void end_epoch();

 private:
  double mean_loss() const;
  double samples_per_second() const;
  void draw() const;

  bool is_shown_;
  bool is_terminal_;
  int epochs_;
  int epoch_ = 0;
  std::int64_t steps_ = 0;
  std::int64_t done_ = 0;
  std::int64_t samples_ = 0;
  double loss_sum_ = 0;
  std::chrono::steady_clock::time_point started_;
  std::chrono::steady_clock::time_point drawn_;
};

}  // namespace digits
