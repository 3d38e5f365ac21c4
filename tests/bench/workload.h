// What is reduced: the gradients of one training step, as the backward pass produces them.
#pragma once

#include <string>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/types.h"

namespace hvd::bench {

struct NamedShape {
  std::string name;
  Shape shape;
};

struct Workload {
  std::string name;
  std::vector<NamedShape> tensors;  // float32, in the order of readiness

  std::size_t element_count() const;
};

// ResNet-50 for 1,000 classes (He et al., "Deep Residual Learning for Image Recognition", 2015, table 1;
// batch normalisation after each convolution, biases only there and in the last layer): 161 tensors,
// 25,557,032 parameters, last layer first.
Workload resnet50();
// 1,000 tensors of 1 KiB.
Workload many_small();
// One tensor of `elements`.
Workload single(std::size_t elements);

// "resnet50", "many-small" or "single:ELEMENTS".
Result<Workload> workload_named(const std::string& name);

}  // namespace hvd::bench
