// The memory of a Workload on one rank, filled with numbers whose reduction is known.
//
// Element i of rank r in round k is (i + 7 k) mod 64 + r / 2: sums over ranks are exact in float32.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "tests/bench/workload.h"

namespace hvd::bench {

enum class Layout {
  separate,    // one allocation a tensor, as a framework has them
  contiguous,  // one allocation for all
};

class Gradients {
 public:
  Gradients(const Workload& workload, Layout layout);
  // In memory of somebody else.
  explicit Gradients(std::vector<std::span<float>> tensors) : tensors_(std::move(tensors)) {}

  std::span<const std::span<float>> tensors() const { return tensors_; }
  // Everything, when contiguous.
  std::span<float> all() { return storage_.front(); }

  void fill(int rank, int round);
  // Whether every element is `factor` times the sum over `ranks` of what fill wrote.
  Status verify(int ranks, int round, double factor) const;

 private:
  std::vector<std::vector<float>> storage_;
  std::vector<std::span<float>> tensors_;
};

}  // namespace hvd::bench
