// Makes every rank start from the same model.
//
//   hvd::broadcast_parameters(*model);    // before the first step, after a checkpoint was loaded
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/ordered_dict.h>

#include <string>

#include "horovod_cpp/torch/collectives.h"

namespace hvd {

using NamedTensors = torch::OrderedDict<std::string, at::Tensor>;

// Everybody gets rank `root`'s values of these tensors, in place. All ranks pass the same names and shapes;
// undefined tensors are left out. options.name, if given, comes before each tensor's name. Waits for all of
// them; throws the first failure (errors.h).
void broadcast_tensors(const NamedTensors& tensors, int root = 0, const BroadcastOptions& options = {});

// Parameters and buffers of a torch::nn::Module (pass *model for a module holder), in place.
template <class Module>
  requires requires(const Module& module) {
    module.named_parameters();
    module.named_buffers();
  }
void broadcast_parameters(const Module& module, int root = 0, const BroadcastOptions& options = {}) {
  NamedTensors tensors;
  for (const auto& item : module.named_parameters()) tensors.insert("parameter " + item.key(), item.value());
  for (const auto& item : module.named_buffers()) tensors.insert("buffer " + item.key(), item.value());
  broadcast_tensors(tensors, root, options);
}

}  // namespace hvd
