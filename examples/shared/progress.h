// Shows how training goes, on rank 0: a bar that is redrawn on a terminal, one line a stage anywhere else.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace examples {

class Progress {
 public:
  // `is_shown` false: prints nothing. `unit`: what a step works on, in the plural ("samples").
  Progress(bool is_shown, std::string unit);

  // A stage is what one line is about: "epoch 1/10".
  void begin(const std::string& stage, std::int64_t steps);
  // After each step: `units` of all ranks, `loss` their mean.
  void step(double loss, std::int64_t units);
  // `remark` comes at the end of the line.
  void end(const std::string& remark = "");

 private:
  std::string line(const std::string& bar) const;
  void draw();

  bool is_shown_;
  bool is_terminal_;
  std::string unit_;
  std::string stage_;
  std::int64_t steps_ = 0;
  std::int64_t done_ = 0;
  std::int64_t units_ = 0;
  double loss_sum_ = 0;
  std::chrono::steady_clock::time_point started_;
  std::chrono::steady_clock::time_point last_step_;
  std::chrono::steady_clock::time_point drawn_;
};

}  // namespace examples
