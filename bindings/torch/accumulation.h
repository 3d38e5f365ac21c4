// Which backwards communicate and which only add to p.grad: backward_passes_per_step, no_sync().
//
// A pass is an outermost backward. It is decided at its first gradient whether it is local. The first that is not ends the accumulation, as
// does a step().
// Not thread-safe: the exchange's mutex covers it.
#pragma once

namespace hvd {

class Accumulation {
 public:
  explicit Accumulation(int passes_per_round) : passes_per_round_(passes_per_round) {}

  void hold() { ++holds_; }
  void release() { --holds_; }

  // The first gradient of a backward: true if its gradients stay on this rank for now.
  bool begin_pass() {
    const bool is_local = holds_ > 0 || local_passes_ + 1 < passes_per_round_;
    if (is_local) ++local_passes_;
    return is_local;
  }
  // Whether there were local passes since the last round.
  bool is_pending() const { return local_passes_ > 0; }
  void start_afresh() { local_passes_ = 0; }

 private:
  int passes_per_round_;
  int local_passes_ = 0;
  int holds_ = 0;  // living no_sync guards
};

}  // namespace hvd
