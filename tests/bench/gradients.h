// The memory of a Workload on one rank, filled with numbers whose reduction is known.
//
// Element i of rank r in round k is (i + 7 k) mod 64 + r / 2: sums over ranks are exact in float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "tests/bench/workload.h"

namespace hvd::bench {

// The same for memory of any kind, whose first element is number `first` of the workload.
void fill(std::span<float> values, std::size_t first, int rank, int round);
// Whether every element is `factor` times the sum over `ranks` of what fill wrote.
Status verify(std::span<const float> values, std::size_t first, int ranks, int round, double factor);
// Of all bits; chained: `before` is that of what came before.
std::uint64_t digest(std::span<const float> values, std::uint64_t before);
// Tells the system to take back the whole pages of private memory; they read as zeros afterwards.
void give_back(std::span<float> values);

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
  Status verify(int ranks, int round, double factor) const;
  void give_back();

 private:
  std::vector<std::vector<float>> storage_;
  std::vector<std::span<float>> tensors_;
};

}  // namespace hvd::bench
