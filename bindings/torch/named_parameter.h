// A parameter of a model, with the name that all ranks know it by.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace hvd {

struct NamedParameter {
  std::string name;
  at::Tensor tensor;
};

}  // namespace hvd
